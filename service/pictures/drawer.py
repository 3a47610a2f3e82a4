"""Where pictures are drawn: small JPEGs in a thread, others in a process that can be ended.

The photograph is decoded once more, in its own size: what was decoded for the model has been made small. As in pool.py,
nothing that may last is done in a thread.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from service.errors import DeadlineExceeded, DecodingFailed, TooLarge
from service.pictures.drawing import MOST_SIDE, Mark, PictureType, drawn_picture
from service.pictures.drawing_process import TOO_LITTLE_MEMORY
from service.pictures.header import header
from service.pictures.pool import is_light
from service.pictures.process import worker_environment


@dataclass(frozen=True)
class DrawingLimits:
    """How many pictures are drawn at once, the memory for each, and the most pixels of a photograph."""

    pictures: int
    memory_bytes: int
    max_pixels: int


class Drawer:
    """Draws on photographs. Must be made inside a running event loop."""

    def __init__(self, limits: DrawingLimits) -> None:
        self._limits = limits
        self._places = asyncio.Semaphore(limits.pictures)

    async def picture(
        self, data: bytes, marks: Sequence[Mark], picture_type: PictureType, deadline: float
    ) -> bytes:
        """The photograph in `data`, one that has been decoded before, with `marks` on it.

        Raises:
            TooLarge: the picture has more pixels on a side than its type can hold, or needs too much memory.
            DeadlineExceeded: `deadline`, in the event loop's time, came before the picture.
            DecodingFailed: the process ended while it drew.
        """
        said = header(data)
        most = MOST_SIDE[picture_type]
        if said is not None and max(said.width, said.height) > most:
            raise TooLarge(f"a picture of {picture_type} has at most {most} pixels a side")
        try:
            async with asyncio.timeout_at(deadline), self._places:
                if said is not None and is_light(said, data):
                    return await asyncio.to_thread(
                        drawn_picture, data, marks, picture_type, self._limits.max_pixels
                    )
                return await self._in_a_process(data, marks, picture_type)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the picture was drawn") from error

    async def _in_a_process(
        self, data: bytes, marks: Sequence[Mark], picture_type: PictureType
    ) -> bytes:
        orders = {
            "marks": [astuple(mark) for mark in marks],
            "picture_type": picture_type,
            "max_pixels": self._limits.max_pixels,
            "memory_bytes": self._limits.memory_bytes,
            "parent": os.getpid(),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "service.pictures.drawing_process"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=worker_environment(),
        )
        try:
            picture, _ = await process.communicate(json.dumps(orders).encode() + b"\n" + data)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == TOO_LITTLE_MEMORY:
            limit = f"the {self._limits.memory_bytes} bytes of a decoding process"
            raise TooLarge(f"drawing on the image needs more than {limit}", reason="memory")
        if process.returncode != 0:
            raise DecodingFailed("drawing on this image failed")
        return picture
