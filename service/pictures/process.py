"""The server's side of a decoding process: started, given an image, ended.

It is started as a program of its own. multiprocessing's spawn would import the server's main module in it, and with it
the whole server. The shared memory has no name, so nothing is left of it whoever dies.
"""

import asyncio
import json
import math
import mmap
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np

from service.errors import InvalidImage, ServiceError, TooLarge, UnsupportedMediaType
from service.pictures.framing import Frame, Framing
from service.pictures.tiling import Shot, Tiles, most_windows
from service.pictures.worker import REPLY_LENGTH, REQUEST, TILES, Orders

REFUSALS: dict[str, type[ServiceError]] = {
    kind.__name__: kind for kind in (InvalidImage, TooLarge, UnsupportedMediaType)
}
# A killed process is gone within milliseconds, unless the kernel is stuck in its name.
END_S = 5.0
# The largest block that a process keeps for the next image; it keeps at most twice as much in all.
KEPT_BYTES = 32 * 2**20
# A reply has sizes, or a sentence.
MOST_REPLY_BYTES = 65_536


class WorkerDied(Exception):
    """The process ended, or answered what it cannot have meant."""


@contextmanager
def died_if(*errors: type[Exception]) -> Iterator[None]:
    """Raises WorkerDied in place of `errors`."""
    try:
        yield
    except errors as error:
        raise WorkerDied("a decoding process cannot be understood") from error


class WorkerProcess:
    """A decoding process that makes frames as `framing` says, in at most `memory_bytes`.

    Made inside a running event loop; it is starting until `started` returns.
    """

    def __init__(self, framing: Framing, memory_bytes: int) -> None:
        self._framing = framing
        self._memory_bytes = memory_bytes
        self._link, theirs = socket.socketpair()
        with theirs, anonymous_file() as file:
            # Pages that no image has needed take no memory.
            largest = max(3 * math.prod(bucket) for bucket in framing.buckets)
            os.ftruncate(file.fileno(), largest * (1 + most_windows()))
            self._pixels = mmap.mmap(file.fileno(), 0)
            orders = Orders(
                link=theirs.fileno(),
                pixels=file.fileno(),
                parent=os.getpid(),
                memory_bytes=memory_bytes,
                short_side=framing.rule.short_side,
                max_side=framing.rule.max_side,
                rounding=framing.rule.rounding,
                interpolation=framing.rule.interpolation,
                decoding=framing.rule.decoding,
                buckets=list(framing.buckets),
                max_pixels=framing.max_pixels,
            )
            self._process = started_process(orders)
        self._link.setblocking(False)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """What it ended with: its exit status, or the signal that ended it as a negative number."""
        return self._process.returncode

    @property
    def has_ended(self) -> bool:
        """Whether it has died by itself."""
        return self._process.poll() is not None

    async def started(self) -> None:
        """Returns once it takes images. Raises WorkerDied when it ended instead."""
        await self._reply()

    async def shots(self, data: bytes, tiles: Tiles) -> list[Shot]:
        """The frames of the image in `data`, as `load_shots` makes them.

        Raises:
            InvalidImage, TooLarge, UnsupportedMediaType: as `decode_image`.
            WorkerDied: the process ended of it; there will be no further frame.
        """
        loop = asyncio.get_running_loop()
        with died_if(OSError):
            # In one piece: each wakes the process up.
            head = REQUEST.pack(len(data), TILES.get(tiles, tiles))
            await loop.sock_sendall(self._link, head + data)
        reply = await self._reply()
        with died_if(KeyError, ValueError, TypeError):
            if "error" in reply:
                raise self._refusal(reply)
            return self._shots(reply["frames"])

    async def end(self) -> None:
        """Kills it and waits until it is gone. Raises TimeoutError when it stays."""
        self._process.kill()
        self._link.close()
        self._pixels.close()
        try:
            await asyncio.to_thread(self._process.wait, END_S)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"decoding process {self.pid} cannot be ended") from error

    async def _reply(self) -> dict[str, Any]:
        (length,) = REPLY_LENGTH.unpack(await self._received(REPLY_LENGTH.size))
        with died_if(ValueError):
            reply: dict[str, Any] = json.loads(await self._received(min(length, MOST_REPLY_BYTES)))
        return reply

    async def _received(self, length: int) -> bytes:
        loop, received = asyncio.get_running_loop(), b""
        while len(received) < length:
            with died_if(OSError):
                part = await loop.sock_recv(self._link, length - len(received))
            if not part:
                raise WorkerDied(f"decoding process {self.pid} ended")
            received += part
        return received

    def _shots(self, frames: list[dict[str, Any]]) -> list[Shot]:
        start, shots = 0, []
        for said in frames:
            window = None
            if said["window"] is not None:
                top, left, height, width = map(int, said["window"])
                window = (top, left, height, width)
            frame = self._frame(said, start)
            shots.append(Shot(frame, window))
            start += frame.pixels.size
        return shots

    def _frame(self, said: dict[str, Any], start: int) -> Frame:
        content, original, bucket = (
            (int(height), int(width))
            for height, width in (said["content"], said["original"], said["bucket"])
        )
        if bucket not in self._framing.buckets:
            raise ValueError("a frame of another model")
        pixels = np.frombuffer(self._pixels, np.uint8, 3 * math.prod(bucket), start)
        # (3 * H * W,) -> (3, H, W); a copy, as the next image comes to lie in the same memory
        return Frame(pixels.reshape(3, *bucket).copy(), content, original, bucket)

    def _refusal(self, reply: dict[str, Any]) -> ServiceError:
        kind = REFUSALS.get(reply["error"])
        if kind is None:
            limit = f"the {self._memory_bytes} bytes of a decoding process"
            return TooLarge(f"decoding the image needs more than {limit}", reason="memory")
        return kind(reply["detail"], reason=reply["reason"])


def anonymous_file() -> BinaryIO:
    """An open file without a name: in memory where the system has such, else in the folder for temporary files."""
    if sys.platform == "linux":
        return open(os.memfd_create("frame"), "r+b", buffering=0)
    return cast(BinaryIO, tempfile.TemporaryFile())


def worker_environment() -> dict[str, str]:
    """The variables of a process that decodes: it sees the packages that this one sees."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        # numpy multiplies no matrices there, and each of OpenBLAS' threads would count as 8 MiB of memory.
        "OPENBLAS_NUM_THREADS": "1",
        # glibc would give an image's memory back after each, and 700 page faults are half of a small one's time.
        "MALLOC_MMAP_THRESHOLD_": str(KEPT_BYTES),
        "MALLOC_TRIM_THRESHOLD_": str(2 * KEPT_BYTES),
    }


def started_process(orders: Orders) -> subprocess.Popen[bytes]:
    """The process, starting. It sees nothing in the working directory."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "service.pictures.worker", orders.as_json()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=worker_environment(),
        pass_fds=(orders.link, orders.pixels),
    )
