"""The threads that turn images into frames, so that the event loop never decodes.

Every image is a task of its own: those of one request are decoded side by side, and a large one holds up
one thread.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from service.errors import DeadlineExceeded
from service.pictures.framing import Frame, Framing, load_frame


class DecodingPool:
    """A number of threads that make frames as `framing` says."""

    def __init__(self, framing: Framing, threads: int) -> None:
        self._framing = framing
        self._threads = ThreadPoolExecutor(threads, "decode")

    async def frame(self, data: bytes, deadline: float) -> Frame:
        """The frame of the image in `data`. `deadline` is in the event loop's time.

        Raises:
            DeadlineExceeded: `deadline` came before the frame.
            InvalidImage, TooLarge, UnsupportedMediaType: as `decode_image`.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline):
                return await loop.run_in_executor(self._threads, load_frame, data, self._framing)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the image was decoded") from error

    def stop(self) -> None:
        """Drops what waits, and lets each thread end after the image that it is at."""
        self._threads.shutdown(wait=False, cancel_futures=True)
