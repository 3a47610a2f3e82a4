"""Sources through a model file, without a server; the seconds of each stage where they are asked for.

decode      bytes -> upright RGB pixels
place       resized, and laid in the frame
inference   the batch that the image ran in, all of it
reply       the model's arrays -> boxes in the image
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from statistics import median
from time import perf_counter
from typing import TypeVar

from service.artifact.tensors import Outputs
from service.detections import Wanted, detected
from service.engine.engine import Engine
from service.errors import InvalidRequest, ServiceError
from service.http.schemas import DetectQuery
from service.offline.answers import Asked, ServedModel
from service.offline.outcome import Outcome, Seconds
from service.offline.sources import Source
from service.pictures.framing import Frame, Framing, Size, decoded_for_frame, frame_of

Result = TypeVar("Result")
DECODERS = 2
# Batches whose photographs are decoded ahead: of several frames there are enough of each for a batch.
AHEAD = 4


@dataclass(frozen=True)
class Plan:
    """How sources are answered.

    Attributes:
        wanted: what of the findings.
        max_pixels: the most that an image may have.
        batch: the most images that run together.
        repeat: how often each stage runs, one after the other, for the median of its seconds; 0 to take none.
    """

    wanted: Wanted
    max_pixels: int
    batch: int
    repeat: int


@dataclass(frozen=True, eq=False)
class Reading:
    """A source's image as the model takes it, and the seconds of decode and place."""

    source: Source
    frame: Frame
    seconds: Seconds


class Direct:
    """A loaded model, and how it is asked."""

    def __init__(self, engine: Engine, plan: Plan) -> None:
        self._engine = engine
        self._plan = plan
        manifest = engine.manifest
        self._framing = Framing(manifest.resize, manifest.buckets, plan.max_pixels)
        self._warmed: set[tuple[Size, int]] = set()

    def outcomes(self, sources: Iterable[Source]) -> Iterator[Outcome]:
        """What becomes of each source, in order."""
        readings = self._readings(sources)
        while some := list(islice(readings, AHEAD * self._plan.batch)):
            answers = {each.source.name: each for each in some if isinstance(each, Outcome)}
            for batch in batches((each for each in some if isinstance(each, Reading)), self._plan):
                answers |= {outcome.source.name: outcome for outcome in self._detect(batch)}
            yield from (answers[each.source.name] for each in some)

    def _readings(self, sources: Iterable[Source]) -> Iterator[Reading | Outcome]:
        if self._plan.repeat:
            yield from map(self._read, sources)
            return
        with ThreadPoolExecutor(DECODERS) as threads:
            waiting = deque[Callable[[], Reading | Outcome]]()
            for source in sources:
                waiting.append(threads.submit(self._read, source).result)
                if len(waiting) > AHEAD * self._plan.batch:
                    yield waiting.popleft()()
            while waiting:
                yield waiting.popleft()()

    def _read(self, source: Source) -> Reading | Outcome:
        repeat = max(1, self._plan.repeat)
        try:
            data = source.load()
            decoded, decode_s = _timed(lambda: decoded_for_frame(data, self._framing), repeat)
        except OSError as error:
            return Outcome(source, error=error.strerror or str(error))
        except ServiceError as error:
            return Outcome(source, error=error.detail)
        except ValueError as error:
            return Outcome(source, error=str(error))
        frame, place_s = _timed(lambda: frame_of(*decoded, self._framing), repeat)
        return Reading(source, frame, {"decode": decode_s, "place": place_s})

    def _detect(self, batch: list[Reading]) -> Iterator[Outcome]:
        plan, shape = self._plan, (batch[0].frame.bucket, len(batch))
        # The first run of a shape is not the one to time.
        if plan.repeat and shape not in self._warmed:
            self._run(batch)
            self._warmed.add(shape)
        repeat = max(1, plan.repeat)
        outputs, inference_s = _timed(lambda: self._run(batch), repeat)
        for index, reading in enumerate(batch):
            manifest = self._engine.manifest
            reply = partial(detected, outputs[index], reading.frame, manifest, plan.wanted)
            found, reply_s = _timed(reply, repeat)
            seconds = {**reading.seconds, "inference": inference_s, "reply": reply_s}
            yield Outcome(reading.source, found, seconds=seconds if plan.repeat else {})

    def _run(self, batch: list[Reading]) -> Outputs:
        frames = [reading.frame for reading in batch]
        return self._engine.run(
            [frame.pixels for frame in frames], [frame.content for frame in frames]
        )


def wanted_of(asked: Asked, engine: Engine) -> Wanted:
    """What is asked for, of this model. Raises InvalidRequest for what it does not have."""
    if asked.tiles is not None:
        raise InvalidRequest("--tiles: expected a server, which looks at tiles in batches")
    query = {name: value for name, value in asdict(asked).items() if name != "tiles"}
    return DetectQuery(**query).wanted(engine.manifest)


def served_by(engine: Engine) -> ServedModel:
    """What answers."""
    manifest = engine.manifest
    return ServedModel(manifest.name, manifest.version, manifest.classes, manifest.category_ids)


def batches(readings: Iterable[Reading], plan: Plan) -> Iterator[list[Reading]]:
    """The readings in batches of one bucket and of at most as many as the plan says."""
    by_bucket: dict[Size, list[Reading]] = {}
    for reading in readings:
        by_bucket.setdefault(reading.frame.bucket, []).append(reading)
    for same in by_bucket.values():
        for start in range(0, len(same), plan.batch):
            yield same[start : start + plan.batch]


def _timed(work: Callable[[], Result], repeat: int) -> tuple[Result, float]:
    """The last result of `work`, and the median of its seconds."""
    seconds = []
    for _ in range(repeat):
        began = perf_counter()
        result = work()
        seconds.append(perf_counter() - began)
    return result, median(seconds)
