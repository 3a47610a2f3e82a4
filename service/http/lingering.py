"""Closing a connection on which the client still sends.

To close it would reset it, and what was written might be lost on the way: a client that sends too much
would never read why it was refused. So only our side is closed, and what comes is thrown away until the
client closes its own, or has had its time.
"""

import asyncio
from collections.abc import Callable
from typing import Any


class LingeringTransport(asyncio.Transport):
    """A transport that closes one side only when the other still has something to say."""

    def __init__(
        self,
        transport: asyncio.Transport,
        is_coming: Callable[[], bool],
        closing: Callable[[], None],
    ) -> None:
        """`is_coming` says whether the client still sends; `closing` is called before closing."""
        super().__init__()
        self._transport = transport
        self._is_coming = is_coming
        self._before_closing = closing
        self._closed = False

    def close(self) -> None:
        """Closes it; what has been written is still sent."""
        if self.is_closing():
            return
        self._closed = True
        self._before_closing()
        if self._is_coming() and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def is_closing(self) -> bool:
        """Whether it is closed or closing."""
        return self._closed or self._transport.is_closing()

    def abort(self) -> None:
        """Closes it at once; what has not been sent is lost."""
        self._closed = True
        self._transport.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends `data`, unless it is closed."""
        if not self.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Takes nothing from the client until `resume_reading`."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Takes from the client again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the real transport says of itself."""
        return self._transport.get_extra_info(name, default)
