"""Every setting of a training run: its data, its schedule, its stage, and the detector that it trains.

Frozen dataclasses, as in detector.py. The defaults are the paper's (arXiv 1612.03144, section 5).
"""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from model.config.detector import DetectorConfig
from model.config.types import STRICT, Fraction, Length, NonNegative, Positive

# The images a step that `schedule.learning_rate` is stated for.
BASE_BATCH = 16
StageName = Literal["joint", "rpn", "fast"]
PartName = Literal["backbone", "pyramid", "rpn", "roi"]
PrecisionName = Literal["auto", "mixed", "float32"]
FormatName = Literal["auto", "coco", "yolo", "voc", "csv", "cvat", "labelstudio", "labelme"]


@dataclass(frozen=True, config=STRICT)
class AugmentConfig:
    """What training images go through beside the flip and the short sides; nothing by default.

    Attributes:
        scale: large-scale jitter (Ghiasi et al. 2021): an image is resized by a factor between these two and cut, or
            put on grey, to the size that it would have had. 0.1 to 2 is the paper's.
        colour: the probability of each of SSD's distortions of brightness, contrast, saturation and hue.
        repeat: repeat-factor sampling (Gupta et al. 2019): an image with a class that fewer than this share of the
            images show is drawn more often in an epoch, by the root of what is missing. 0.001 is LVIS's.
        copies: how many of an image's small objects are copied to free places of it (Kisantal et al. 2019).
    """

    scale: tuple[Length, Length] | None = None
    colour: Annotated[float, Field(ge=0, le=1)] = 0.0
    repeat: Annotated[float, Field(ge=0, le=1)] = 0.0
    copies: NonNegative = 0

    @property
    def changes_images(self) -> bool:
        """Whether an image's pixels or boxes are other than without."""
        return self.scale is not None or self.colour > 0 or self.copies > 0

    @model_validator(mode="after")
    def _scale_rises(self) -> Self:
        if self.scale and self.scale[0] > self.scale[1]:
            raise ValueError(f"expected a scale from the smaller to the larger, got {self.scale}")
        return self


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """Where the photographs are and how they vary. Annotation and image paths are relative to `root`.

    Attributes:
        root: from the folder of the file that says it; on the command line from the working folder.
        format: of the annotations: COCO's json, or what data/formats/reading.py lists; "auto" looks.
        train_proposals, val_proposals: files of fpn-propose, for the stage that needs them; placed as `root` is.
        short_sides: scale jitter; each batch draws one. Empty means the resize rule's own short side.
        augment: what else they go through.
        skip_empty: leave out photographs without boxes.
        without_classes: names of categories that are no classes, left out with their boxes.
        verify: decode every photograph before training starts, and leave out those that cannot be.
    """

    root: Path
    train_annotations: Path
    train_images: Path
    val_annotations: Path | None = None
    val_images: Path | None = None
    train_proposals: Path | None = None
    val_proposals: Path | None = None
    short_sides: tuple[Positive, ...] = ()
    flip: bool = True
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    skip_empty: bool = False
    without_classes: tuple[str, ...] = ()
    verify: bool = True
    format: FormatName = "auto"
    workers: NonNegative = 0

    @model_validator(mode="after")
    def _validation_is_whole(self) -> Self:
        if (self.val_annotations is None) != (self.val_images is None):
            raise ValueError("expected both val_annotations and val_images, or neither")
        return self

    @model_validator(mode="after")
    def _given_proposals_stay_in_place(self) -> Self:
        if self.train_proposals and self.augment.changes_images:
            raise ValueError(
                "expected no augment.scale, colour or copies with train_proposals, which stay where they are"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class RatesConfig:
    """What multiplies the learning rate of each part; a part that is to stay as it is goes into `freeze`."""

    backbone: Length = 1.0
    pyramid: Length = 1.0
    rpn: Length = 1.0
    roi: Length = 1.0


@dataclass(frozen=True, config=STRICT)
class ScheduleConfig:
    """SGD with linear warm-up and step decay (section 5: 0.02 for 16 images a step).

    Attributes:
        batch_size: images a step, of all processes and all their micro-batches together.
        accumulate: micro-batches that a process's share of a step is divided into, one after the other.
        learning_rate: for 16 images a step; `scaled_learning_rate` is the one for `batch_size`.
        rates: what multiplies it, part by part.
        average_decay: of the weights' exponential moving average, which is then evaluated and exported; 0 is none.
        epochs, decay_epochs: in place of `steps` and `decay_steps`, if not 0: times that every photograph is seen.
        decay_steps: steps at which the learning rate is multiplied by `decay`.
        clip_norm: largest gradient norm; 0 means no clipping.
    """

    batch_size: Positive = 16
    accumulate: Positive = 1
    steps: Positive = 90_000
    epochs: Annotated[float, Field(ge=0)] = 0.0
    learning_rate: Annotated[float, Field(gt=0)] = 0.02
    rates: RatesConfig = field(default_factory=RatesConfig)
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup_steps: NonNegative = 1000
    warmup_factor: Fraction = 1e-3
    decay_steps: tuple[Positive, ...] = (60_000, 80_000)
    decay_epochs: tuple[Length, ...] = ()
    decay: Fraction = 0.1
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def scaled_learning_rate(self) -> float:
        """In proportion to the batch: the linear scaling rule (Goyal et al. 2017, section 2.1)."""
        return self.learning_rate * self.batch_size / BASE_BATCH

    @model_validator(mode="after")
    def _rising_decay_steps(self) -> Self:
        if list(self.decay_steps) != sorted(set(self.decay_steps)):
            raise ValueError(f"decay_steps must rise, got {self.decay_steps}")
        return self

    @model_validator(mode="after")
    def _warm_up_that_ends(self) -> Self:
        if not self.epochs and self.warmup_steps >= self.steps:
            raise ValueError(
                f"expected warmup_steps fewer than steps, {self.steps}, got {self.warmup_steps}: it would never end"
            )
        if self.decay_epochs and not self.epochs:
            raise ValueError("expected decay_epochs with epochs, and decay_steps with steps")
        return self


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """One training run.

    Attributes:
        stage: "joint", or one of the two by itself: "rpn", or "fast" on the proposals of files (stages.py).
        init: a checkpoint, or weights of torchvision, Detectron2 or MMDetection, whose trained parts are taken over
            where they fit; of other classes, what predicts those of the same name. Placed as `data.root` is.
        freeze: parts that stay as they are.
        precision: of the network: "mixed" is bfloat16 on a CPU and float16 with loss scaling on CUDA; "auto" is that
            where it is fast, else "float32" (training/precision.py).
        checkpoint_every, eval_every: steps; 0 means only at the end.
        keep_every: steps; the detector of each is kept as step-N.pt; 0 keeps none.
        best_metric: of an evaluation, whose best detector is kept as best.pt: AP, AP50, "AP/cat" ...; empty is AP, or
            AR1k of the stage "rpn".
        report: whether an evaluation writes the run's report (training/showing.py).
        patience: evaluations in a row that are no better, after which the run ends; 0 never ends it early.
    """

    name: str
    data: DataConfig
    model: DetectorConfig = field(default_factory=DetectorConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    stage: StageName = "joint"
    init: Path | None = None
    freeze: tuple[PartName, ...] = ()
    seed: NonNegative = 0
    precision: PrecisionName = "auto"
    checkpoint_every: NonNegative = 500
    eval_every: NonNegative = 0
    keep_every: NonNegative = 0
    best_metric: str = ""
    patience: NonNegative = 0
    report: bool = True

    @model_validator(mode="after")
    def _stage_has_what_it_needs(self) -> Self:
        data, fast = self.data, self.stage == "fast"
        if fast != (data.train_proposals is not None):
            raise ValueError(
                "expected data.train_proposals with stage 'fast' and with no other, got"
                f" {str(data.train_proposals)!r} with {self.stage!r}"
            )
        if fast and (data.val_annotations is None) != (data.val_proposals is None):
            raise ValueError(
                "expected both data.val_annotations and data.val_proposals, or neither"
            )
        if "pyramid" in self.freeze and self.init is None:
            raise ValueError("freeze 'pyramid' needs init: a pyramid that is fixed must be trained")
        return self
