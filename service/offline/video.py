"""The frames of a video as photographs, where PyAV is installed (the extra `video`)."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

try:
    import av
except ImportError:
    HAS_VIDEO = False
else:
    HAS_VIDEO = True

VIDEO_REMEDY = "a video: its frames are read where PyAV is installed (pip install av)"
# The video has lost more; and a frame is sent as one of a camera would be.
QUALITY = 95


@dataclass(frozen=True)
class VideoFrame:
    """A frame: its number in the video, from 0, and its pixels, upright, in a file."""

    number: int
    jpeg: bytes


def frames_of(path: Path, every: int) -> Iterator[VideoFrame]:
    """Every so many-th frame of the first video stream, from the first one on.

    Raises:
        OSError: it is no video, or a damaged one; the frames before have been given.
    """
    try:
        yield from _decoded(path, every)
    except av.FFmpegError as error:
        raise OSError(str(error)) from error


def _decoded(path: Path, every: int) -> Iterator[VideoFrame]:
    with av.open(str(path)) as video:
        if not video.streams.video:
            raise OSError("it has no pictures")
        video.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(video.decode(video=0)):
            if number % every == 0:
                yield VideoFrame(number, _jpeg(frame))


def _jpeg(frame: "av.VideoFrame") -> bytes:
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    # Of a phone that was held upright; counter-clockwise in both.
    if frame.rotation:
        image = image.rotate(frame.rotation, expand=True)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return stream.getvalue()
