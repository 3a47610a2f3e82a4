"""The process that decodes: bytes in through a socket, a frame out through shared memory. Started by process.py.

    request    length (8 bytes), tiles (1 byte), the bytes of an image
    reply      length (4 bytes), a JSON object: content, original, bucket and window of each frame, or an error
    memory     the pixels of the frames, uint8 [3, H, W], one after the other

It decodes what strangers sent, so it answers in JSON, which can do nothing to who reads it, and a decoder that
crashes takes nobody with it. It imports little, as every replacement is waited for: no pydantic, nothing of the server.
"""

import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from service.errors import ServiceError
from service.pictures.decoding import prepare_pillow
from service.pictures.framing import Framing, Size
from service.pictures.tiling import Tiles, load_shots

REQUEST = struct.Struct("!QB")
# Of tiles: a number stands for itself.
TILES: dict[Tiles, int] = {"off": 0, "auto": 255}
REPLY_LENGTH = struct.Struct("!I")
# prctl(2): the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1
# Of a core that both want a decoder gets a tenth, the server the rest: what is large is late itself rather than
# everybody's inference. On idle cores it takes no longer.
NICENESS = 10


@dataclass(frozen=True)
class Orders:
    """What a worker is told when it starts.

    Attributes:
        link, pixels: descriptors of the socket and of the shared memory.
        parent: the process that it must not outlive.
        memory_bytes: the most memory that it may take.
        short_side, max_side, rounding, interpolation, decoding, buckets, max_pixels: a `Framing`.
    """

    link: int
    pixels: int
    parent: int
    memory_bytes: int
    short_side: int
    max_side: int
    rounding: str
    interpolation: str
    decoding: str
    buckets: list[Size]
    max_pixels: int

    @property
    def framing(self) -> Framing:
        """What the model wants of its frames."""
        return Framing(self, self.buckets, self.max_pixels)

    def as_json(self) -> str:
        """The text from which `Orders.read` makes the same."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "Orders":
        """The orders in a text that `as_json` made."""
        fields = json.loads(text)
        buckets = [(height, width) for height, width in fields.pop("buckets")]
        return cls(buckets=buckets, **fields)


def main() -> None:
    """Decodes until the socket is closed."""
    orders = Orders.read(sys.argv[1])
    end_with(orders.parent)
    yield_to_the_server()
    limit_memory(orders.memory_bytes)
    # Both are sent to whole groups of processes; the server decides when its last image has been decoded.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    prepare_pillow()
    with socket.socket(fileno=orders.link) as link, mmap.mmap(orders.pixels, 0) as pixels:
        serve(link, pixels, orders.framing)


def end_with(parent: int) -> None:
    """Has this process killed when its parent dies, where the system can; elsewhere it ends at the next image."""
    if sys.platform == "linux":
        # Here, as no other system has it to import.
        import ctypes  # noqa: PLC0415

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


def yield_to_the_server() -> None:
    """Takes what the server's own threads leave of the cores, and a little more."""
    os.nice(NICENESS)


def limit_memory(most_bytes: int) -> None:
    """Lets allocations beyond `most_bytes` fail, and leaves no dump of anybody's image behind a crash."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What is allocated, not what is mapped: libraries and threads reserve far more addresses than memory.
    _, allowed = resource.getrlimit(resource.RLIMIT_DATA)
    if allowed != resource.RLIM_INFINITY:
        most_bytes = min(most_bytes, allowed)
    # Only Linux is known to keep to it, and others may refuse the value.
    with suppress(ValueError) if sys.platform != "linux" else nullcontext():
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))


def serve(link: socket.socket, pixels: mmap.mmap, framing: Framing) -> None:
    """Says that it is there, and answers images until there are no more."""
    send(link, {})
    with link.makefile("rb") as stream:
        while head := stream.read(REQUEST.size):
            length, code = REQUEST.unpack(head)
            tiles = next((name for name, number in TILES.items() if number == code), code)
            send(link, reply_to(stream.read(length), tiles, pixels, framing))


def reply_to(data: bytes, tiles: Tiles, pixels: mmap.mmap, framing: Framing) -> dict[str, Any]:
    """The reply to an image; its frames are in `pixels` by then."""
    try:
        shots = load_shots(data, framing, tiles)
    except MemoryError:
        return {"error": "MemoryError"}
    except ServiceError as error:
        return {"error": type(error).__name__, "detail": error.detail, "reason": error.reason}
    memory, start, said = np.frombuffer(pixels, np.uint8), 0, []
    for shot in shots:
        frame = shot.frame
        memory[start : start + frame.pixels.size] = frame.pixels.ravel()
        start += frame.pixels.size
        sizes = {"content": frame.content, "original": frame.original, "bucket": frame.bucket}
        said.append({**sizes, "window": shot.window})
    return {"frames": said}


def send(link: socket.socket, reply: dict[str, Any]) -> None:
    """Sends the reply, after its length."""
    text = json.dumps(reply).encode()
    link.sendall(REPLY_LENGTH.pack(len(text)) + text)


if __name__ == "__main__":
    main()
