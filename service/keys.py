"""Keys that clients have, and what each may ask for in a minute.

The file is TOML. It holds no key, only its SHA-256: keys are 256 random bits that we make, so nothing slower is needed.

    [camera-1]
    sha256 = "9f86d081884c7d65..."
    images_per_minute = 600
    pixels_per_minute = 500_000_000

A quota is a bucket that holds what a minute allows and fills evenly. The file is looked at every second; when it has
changed it is read again, and one that cannot be read changes nothing.
"""

import asyncio
import hmac
import logging
import re
import secrets
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from service.errors import (
    InvalidSettings,
    Overloaded,
    QuotaExceeded,
    TooLarge,
    Unauthorized,
    Unavailable,
)

log = logging.getLogger(__name__)

MINUTE_S = 60.0
LOOK_S = 1.0
KEY_BYTES = 32


class Entry(BaseModel):
    """What the file says of one key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    images_per_minute: float = Field(inf, gt=0)
    pixels_per_minute: float = Field(inf, gt=0)


# TOML's bare keys: what can be a label and be written in a log as it is.
NAME = r"^[A-Za-z0-9_-]{1,64}$"
ENTRIES = TypeAdapter(dict[Annotated[str, Field(pattern=NAME)], Entry])


class Bucket:
    """What is left of a quota."""

    def __init__(
        self, per_minute: float, what: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`what` is counted, for messages."""
        self.per_minute = per_minute
        self._what = what
        self._clock = clock
        self._left = per_minute
        self._at = clock()

    def wait_s(self, count: float) -> float:
        """Seconds until `count` may be taken; 0 when it may be now. Raises TooLarge when it never may."""
        if self.per_minute == inf:
            return 0.0
        if count > self.per_minute:
            raise TooLarge(
                f"the key may ask for {self.per_minute:g} {self._what} a minute, and these are {count:g}",
                reason="quota",
            )
        now = self._clock()
        filled = (now - self._at) * self.per_minute / MINUTE_S
        self._left, self._at = min(self.per_minute, self._left + filled), now
        return max(0.0, (count - self._left) * MINUTE_S / self.per_minute)

    def take(self, count: float) -> None:
        """Takes `count`, or gives it back when negative."""
        self._left -= count


@dataclass
class Key:
    """One key, by its name, and what is left of its quotas."""

    name: str
    entry: Entry
    images: Bucket = field(init=False)
    pixels: Bucket = field(init=False)

    def __post_init__(self) -> None:
        """Fills the buckets."""
        self.images = Bucket(self.entry.images_per_minute, "images")
        self.pixels = Bucket(self.entry.pixels_per_minute, "pixels")

    def look(self) -> None:
        """Raises QuotaExceeded when not one image more may come: before a body is read in vain."""
        self._refuse(1, 1)

    @contextmanager
    def spending(self, images: int, pixels: int) -> Iterator[None]:
        """Takes so much of the quotas; what the server itself has no room for is given back.

        Raises:
            QuotaExceeded: not so much is left.
            TooLarge: so much is never there.
        """
        self._refuse(images, pixels)
        self._take(images, pixels)
        try:
            yield
        except (Overloaded, Unavailable):
            self._take(-images, -pixels)
            raise

    def _refuse(self, images: int, pixels: int) -> None:
        waits = {"images": self.images.wait_s(images), "pixels": self.pixels.wait_s(pixels)}
        what = max(waits, key=lambda each: waits[each])
        if waits[what] > 0:
            raise QuotaExceeded(
                f"the key's quota of {what} a minute is used up", retry_after_s=waits[what]
            )

    def _take(self, images: int, pixels: int) -> None:
        self.images.take(images)
        self.pixels.take(pixels)


ANYBODY = Key("", Entry(sha256="0" * 64))


class Keys:
    """The keys of a file, as it is now."""

    def __init__(self, path: Path) -> None:
        """Raises InvalidSettings when the file cannot be used."""
        self._path = path
        self._keys: dict[str, Key] = {}
        self._stamp = self._stamped()
        self._replace(read_entries(path))

    @property
    def names(self) -> list[str]:
        """Of all keys."""
        return list(self._keys)

    def find(self, secret: str | None) -> Key:
        """The key that `secret` is. Raises Unauthorized when it is none.

        Compared with every one, in the same time whichever it is.
        """
        if not secret:
            raise Unauthorized(
                "expected a key: Authorization: Bearer KEY, or X-Api-Key: KEY", reason="no_key"
            )
        digest, found = _digest(secret), None
        for key in self._keys.values():
            if hmac.compare_digest(key.entry.sha256, digest):
                found = key
        if found is None:
            raise Unauthorized("the key is not known here")
        return found

    def look(self) -> None:
        """Reads the file again when it has changed; keeps the keys when it cannot be used."""
        stamp = self._stamped()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._replace(read_entries(self._path))
        except InvalidSettings as error:
            log.error("keys are as they were", extra={"fields": {"reason": error.detail}})
        else:
            log.info("keys read again", extra={"fields": {"keys": len(self._keys)}})

    async def watch(self) -> None:
        """Looks at the file every second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def _replace(self, entries: Mapping[str, Entry]) -> None:
        """What is left of a quota stays where its key has not changed."""
        old = self._keys
        self._keys = {
            name: old[name] if name in old and old[name].entry == entry else Key(name, entry)
            for name, entry in entries.items()
        }

    def _stamped(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        # A mounted secret is a link that is turned to another file.
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def read_entries(path: Path) -> dict[str, Entry]:
    """What the file at `path` says, by name. Raises InvalidSettings, which names no hash."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return ENTRIES.validate_python(content)
    except OSError as error:
        raise InvalidSettings(f"FPN_KEYS: {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidSettings(f"FPN_KEYS: {path}: {where}: {first['msg']}") from error
    except ValueError as error:
        raise InvalidSettings(f"FPN_KEYS: {path}: {error}") from error


def new_key(name: str) -> tuple[str, str]:
    """A new key, and what the file is to say of it. Raises InvalidSettings for a name that the file cannot have."""
    if not re.fullmatch(NAME, name):
        raise InvalidSettings(
            f"--new-key: expected letters, digits, - and _, at most 64; got {name!r}"
        )
    secret = secrets.token_urlsafe(KEY_BYTES)
    return secret, f'[{name}]\nsha256 = "{_digest(secret)}"\n'


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
