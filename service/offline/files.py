"""Detections in files, stage by stage, each stage timed.

decode      bytes -> upright RGB pixels
place       resized, and laid in the frame
inference   the batch that the image ran in, all of it
reply       the model's arrays -> boxes in the image
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeVar

from service.artifact.tensors import Outputs
from service.detections import Detected, Wanted, detected
from service.engine.engine import Engine
from service.errors import ServiceError
from service.pictures.decoding import decode_image
from service.pictures.framing import Frame, Framing, Size, frame_of

Result = TypeVar("Result")
Seconds = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """How files are answered.

    Attributes:
        wanted: what of the findings.
        max_pixels: the most that an image may have.
        batch: the most images that run together.
        repeat: how often each stage runs; the median of its seconds is given.
    """

    wanted: Wanted
    max_pixels: int
    batch: int
    repeat: int


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be read, and why."""

    path: Path
    detail: str


@dataclass(frozen=True, eq=False)
class Reading:
    """A file's image as the model takes it, and the seconds of decode and place."""

    path: Path
    frame: Frame
    seconds: Seconds


@dataclass(frozen=True)
class FileAnswer:
    """What was found in a file, how many images its batch had, and the seconds of all stages."""

    reading: Reading
    detected: Detected
    batch_size: int
    seconds: Seconds


def detect_files(
    engine: Engine, paths: Sequence[Path], plan: Plan
) -> list[FileAnswer | Unreadable]:
    """What becomes of each of `paths`, in their order."""
    framing = Framing(engine.manifest.resize, engine.manifest.buckets, plan.max_pixels)
    readings = [_read(path, framing, plan.repeat) for path in paths]
    readable = [reading for reading in readings if isinstance(reading, Reading)]
    warmed: set[tuple[Size, int]] = set()
    answers: dict[Reading, FileAnswer] = {}
    for batch in batches(readable, plan.batch):
        shape = (batch[0].frame.bucket, len(batch))
        # The first run of a shape is not the one to time.
        if shape not in warmed:
            _run(engine, batch)
            warmed.add(shape)
        answers |= {answer.reading: answer for answer in _detect(engine, batch, plan)}
    return [each if isinstance(each, Unreadable) else answers[each] for each in readings]


def batches(readings: Iterable[Reading], most: int) -> Iterator[list[Reading]]:
    """The readings in batches of one bucket and of at most `most`."""
    by_bucket: dict[Size, list[Reading]] = {}
    for reading in readings:
        by_bucket.setdefault(reading.frame.bucket, []).append(reading)
    for same in by_bucket.values():
        for start in range(0, len(same), most):
            yield same[start : start + most]


def _read(path: Path, framing: Framing, repeat: int) -> Reading | Unreadable:
    try:
        data = path.read_bytes()
        image, decode_s = _timed(lambda: decode_image(data, framing.max_pixels), repeat)
    except OSError as error:
        return Unreadable(path, error.strerror or str(error))
    except ServiceError as error:
        return Unreadable(path, error.detail)
    frame, place_s = _timed(lambda: frame_of(image, framing), repeat)
    return Reading(path, frame, {"decode": decode_s, "place": place_s})


def _detect(engine: Engine, batch: list[Reading], plan: Plan) -> Iterator[FileAnswer]:
    outputs, inference_s = _timed(lambda: _run(engine, batch), plan.repeat)
    for index, reading in enumerate(batch):
        reply = partial(detected, outputs[index], reading.frame, engine.manifest, plan.wanted)
        found, reply_s = _timed(reply, plan.repeat)
        seconds = {**reading.seconds, "inference": inference_s, "reply": reply_s}
        yield FileAnswer(reading, found, len(batch), seconds)


def _run(engine: Engine, batch: list[Reading]) -> Outputs:
    frames = [reading.frame for reading in batch]
    return engine.run([frame.pixels for frame in frames], [frame.content for frame in frames])


def _timed(work: Callable[[], Result], repeat: int) -> tuple[Result, float]:
    """The last result of `work`, and the median of its seconds."""
    seconds = []
    for _ in range(repeat):
        began = perf_counter()
        result = work()
        seconds.append(perf_counter() - began)
    return result, median(seconds)
