"""The shapes of what goes in and out over HTTP, as docs/http.md promises them."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.artifact.manifest import Manifest
from service.detections import Detected, Wanted, classes_of, score_thresholds
from service.detector import Found
from service.engine.kernels import Kernels
from service.engine.layouts import Layout
from service.engine.tuning import Timing
from service.errors import InvalidRequest, ServiceError
from service.http.formats import Format
from service.http.problems import ProblemDetails, problem_from
from service.pictures.tiling import MOST, Tiles
from service.waiting import Lane


def _number_or_best(value: object) -> object:
    """`value`, if it is a threshold. One line instead of one for each type that a threshold may have."""
    try:
        if value in (None, "best") or 0 <= float(str(value)) <= 1:
            return value
    except ValueError:
        pass
    raise ValueError("expected a number from 0 to 1, or best")


def _tiles(value: object) -> object:
    """`value`, if it says how an image is cut."""
    if value in ("off", "auto") or str(value) in map(str, range(2, MOST + 1)):
        return value
    raise ValueError(f"expected off, auto or a number from 2 to {MOST}")


Threshold = Annotated[float, Field(ge=0, le=1)] | Literal["best"]


class DetectQuery(BaseModel):
    """The query of /detect. A parameter that is not here is refused: it is a typing error."""

    model_config = ConfigDict(extra="forbid")

    score_threshold: Annotated[Threshold | None, BeforeValidator(_number_or_best)] = Field(
        None,
        description="detections with a lower score are left out: a number from 0 to 1, or `best` for each class's own"
        " of the best F1; by default the model's for all classes together, or 0.5 where it has none",
    )
    max_detections: int | None = Field(
        None, ge=1, description="the most detections of an image, best first"
    )
    classes: list[str] = Field([], description="only detections of these classes; repeatable")
    proposals: int = Field(10, ge=0, description="the most proposals of each level; 0 for none")
    levels: list[str] = Field([], description="only proposals of these levels; repeatable")
    format: Format = Field(
        "json",
        description="json, or of the detections alone: coco results, a yolo text, labelstudio predictions",
    )
    tiles: Annotated[Tiles, BeforeValidator(_tiles)] = Field(
        "off",
        description="parts of a large image that are looked at, too: off, auto, or how many along its longer side",
    )
    priority: Lane = Field(
        "interactive", description="bulk has its turn when nothing interactive waits"
    )
    timeout_s: float | None = Field(
        None,
        gt=0,
        le=600,
        description="seconds after which the request is given up, at most the server's FPN_TIMEOUT_S",
    )

    def wanted(self, manifest: Manifest) -> Wanted:
        """What the caller wants. Raises InvalidRequest for a class or level that is not there."""
        level_names = tuple(level.name for level in manifest.levels)
        _check_known("classes", self.classes, manifest.classes)
        _check_known("levels", self.levels, level_names)
        return Wanted(
            score_thresholds=score_thresholds(self.score_threshold, manifest),
            max_detections=self.max_detections,
            labels=classes_of(self.classes, manifest) if self.classes else None,
            proposals=self.proposals,
            levels=tuple(self.levels) or level_names,
        )


class ImageError(BaseModel):
    """What stands in the place of an image that could not be answered."""

    error: ProblemDetails


class ServedModel(BaseModel):
    """Which model answered."""

    name: str
    version: str


class Timings(BaseModel):
    """Seconds. Of several images the slowest counts; total is from the first byte to the reply."""

    decode: float
    queue: float
    inference: float
    total: float


class Batch(BaseModel):
    """A batch that images of the request ran in, perhaps with those of other requests."""

    size: int = Field(description="images that ran together")
    bucket: tuple[int, int] = Field(description="height and width of their frame")


class Batches(Batch):
    """The batch of the first image, and in `others` any more that the request's images ran in."""

    others: list[Batch] = []


class DetectResponse(BaseModel):
    """The answer of /detect; `images` has one entry for each image, in the order they came."""

    model: ServedModel
    images: list[Detected | ImageError]
    timings_s: Timings
    batch: Batches


class WarmedBucket(BaseModel):
    """A frame that has been run, and in which batch sizes."""

    bucket: tuple[int, int]
    batch_sizes: list[int]


class ModelResponse(BaseModel):
    """The answer of /model."""

    manifest: Manifest
    provider: str = Field(examples=["CUDAExecutionProvider"])
    device: str = Field(examples=["cuda"])
    placement: dict[str, dict[str, int]] = Field(
        description="how many nodes of each operator every provider runs",
        examples=[{"CUDAExecutionProvider": {"Conv": 74}, "CPUExecutionProvider": {"Shape": 8}}],
    )
    precision: str
    kernels: Kernels | None = Field(
        description="what computes int8 on this CPU: `fast` where those kernels are exact for the model, else"
        " `exact`, which are slower; null when nothing is int8, or not on the CPU",
        examples=["fast"],
    )
    max_batch: int
    layouts: list[Layout] = Field(
        description="how runs share the cores: the widest for a lone image, narrower ones side by side for a crowd"
    )
    measured: list[Timing] = Field(
        description="what was tried while warming up; empty where settings left nothing to choose"
    )
    session_bytes: dict[int, int] = Field(
        description="what loading the session of so many threads added to the process's memory, where the system says",
        examples=[{"2": 31_000_000, "1": 15_000_000}],
    )
    warmed: list[WarmedBucket]


class Health(BaseModel):
    """The answer of /livez and /readyz when all is well."""

    status: Literal["ok"] = "ok"


def detect_response(
    outcomes: list[Found | ServiceError], manifest: Manifest, total_s: float
) -> DetectResponse:
    """The answer for `outcomes`. Raises the first error when there is nothing but errors."""
    found = [outcome for outcome in outcomes if isinstance(outcome, Found)]
    if not found:
        raise next(outcome for outcome in outcomes if isinstance(outcome, ServiceError))
    return DetectResponse(
        model=ServedModel(name=manifest.name, version=manifest.version),
        images=[_entry(outcome) for outcome in outcomes],
        timings_s=Timings(
            decode=_seconds(max(each.decode_s for each in found)),
            queue=_seconds(max(each.queue_s for each in found)),
            inference=_seconds(max(each.inference_s for each in found)),
            total=_seconds(total_s),
        ),
        batch=_batches(found),
    )


def found_in_all(outcomes: list[Found | ServiceError]) -> list[Detected]:
    """What was found in every image. Raises the first error: not every format has a place for one."""
    for outcome in outcomes:
        if isinstance(outcome, ServiceError):
            raise outcome
    return [outcome.detected for outcome in outcomes if isinstance(outcome, Found)]


def _entry(outcome: Found | ServiceError) -> Detected | ImageError:
    if isinstance(outcome, Found):
        return outcome.detected
    return ImageError(error=problem_from(outcome))


def _batches(found: list[Found]) -> Batches:
    by_number = {
        each.batch_number: Batch(size=each.batch_size, bucket=each.bucket) for each in found
    }
    first, *others = by_number.values()
    return Batches(size=first.size, bucket=first.bucket, others=others)


def _check_known(parameter: str, names: list[str], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise InvalidRequest(f"{parameter}: no {name!r}; known are {', '.join(known)}")


def _seconds(value: float) -> Annotated[float, "rounded to microseconds"]:
    return round(value, 6)
