"""The manifest: what an exported model says of itself; docs/artifact.md describes its keys.

The service serves a file only when it understands every key and value of its manifest.
"""

import json
from math import log2
from typing import Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from service.artifact.measured import Golden, Reference, Thresholds
from service.artifact.parts import Name, Part, Probability, Size
from service.errors import InvalidModel

SCHEMA = 3
# Both sides of every frame are multiples of it, whatever the levels: docs/artifact.md.
FRAME_STRIDE = 32


class Level(Part):
    """A pyramid level: its name and its stride in pixels of the frame."""

    name: Name
    stride: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_named_after_its_stride(self) -> Self:
        # a second level of one stride has a b behind its name
        if self.name.rstrip("b") != f"P{log2(self.stride):g}":
            raise ValueError(f"level {self.name} with stride {self.stride}: expected 2 ** number")
        return self

    @property
    def number(self) -> int:
        """The number in the name: 2 for P2, 5 for P5b."""
        return int(self.name[1:].rstrip("b"))


class ResizeRule(Part):
    """How content is brought to the model's scale; `service/pictures/framing.py` carries it out."""

    short_side: int = Field(ge=1)
    max_side: int = Field(ge=1)
    rounding: Literal["round", "floor"]
    interpolation: Literal["pillow-bilinear", "bilinear"]
    decoding: Literal["whole", "reduced"]

    @model_validator(mode="after")
    def _sides_are_in_order(self) -> Self:
        if self.short_side > self.max_side:
            raise ValueError(f"short_side {self.short_side} is more than max_side {self.max_side}")
        return self


class Suppression(Part):
    """What the graph itself leaves out by: class score, IoU between detections, IoU between proposals."""

    score: Probability
    nms: Probability
    proposal_nms: Probability


class Limits(Part):
    """What the graph is good for: its order of pooling is one number of 30 bits.

    Attributes:
        max_side: the most pixels of a frame's side.
        max_batch: the most images that may run together.
        max_regions: the most of the caller's own boxes of an image.
    """

    max_side: int = Field(ge=1)
    max_batch: int = Field(ge=1)
    max_regions: int = Field(ge=0)


class Weights(Part):
    """Where the weights come from, and under which licence they may be used; empty where nobody said.

    Attributes:
        license: under which they may be used.
        data: what they were trained on.
        recipe: the configuration that they were trained with, and for how many steps.
        source: the weights that training began from.
        date: on which the file was written, as 2026-01-31.
        code: the version of fpn-serve that wrote it.
        stored: the type of the network's float weights in the file; they are computed in `precision`.
    """

    license: str
    data: str
    recipe: str
    source: str
    date: str
    code: str
    stored: Literal["float32", "float16"]


class Gate(Part):
    """How the precision was judged before the file got its name.

    Attributes:
        kind: parity with torch, accuracy on a validation set, or off: nobody measured what int8 cost.
        report: what the accuracy gate measured, in points of 100.
        float_layers: the layers that int8 left in float32.
    """

    kind: Literal["parity", "accuracy", "off"]
    report: dict[str, float]
    float_layers: tuple[str, ...]


class Manifest(Part):
    """The manifest of one model file."""

    schema_number: Literal[3] = Field(alias="schema")
    name: Name
    version: Name
    classes: tuple[Name, ...] = Field(min_length=1)
    category_ids: tuple[int, ...]
    levels: tuple[Level, ...] = Field(min_length=1)
    resize: ResizeRule
    buckets: tuple[Size, ...] = Field(min_length=1)
    precision: Literal["float32", "float16", "int8"]
    weight_bits: int | None = Field(None, ge=1, le=8)
    gate: Gate
    opset: int = Field(ge=1)
    suppression: Suppression
    limits: Limits
    max_detections: int = Field(ge=1)
    max_proposals: int = Field(ge=1)
    weights: Weights
    thresholds: Thresholds | None
    golden: Golden | None
    reference: Reference | None
    accuracy: dict[str, float]
    parity: dict[str, JsonValue]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, names in (
            ("class", self.classes),
            ("category_id", self.category_ids),
            ("level", [level.name for level in self.levels]),
            ("bucket", self.buckets),
        ):
            twice = {name for name in names if list(names).count(name) > 1}
            if twice:
                raise ValueError(f"{what} {sorted(twice)[0]} is there twice")
        return self

    @model_validator(mode="after")
    def _lists_fit_the_classes_and_levels(self) -> Self:
        """Whatever has an entry for each class, or for each level, has as many."""
        fits = [("category_ids", len(self.category_ids), len(self.classes))]
        if self.thresholds:
            fits += [("thresholds.classes", len(self.thresholds.classes), len(self.classes))]
        if self.reference:
            fits += [
                ("reference.scores.counts", len(self.reference.scores.counts), len(self.classes)),
                ("reference.levels", len(self.reference.levels), len(self.levels)),
            ]
        for what, got, expected in fits:
            if got != expected:
                raise ValueError(f"{what}: expected {expected} entries, got {got}")
        return self

    @model_validator(mode="after")
    def _golden_labels_are_classes(self) -> Self:
        for photograph in self.golden.photographs if self.golden else ():
            for detection in photograph.detections:
                if detection.label >= len(self.classes):
                    raise ValueError(
                        f"golden photograph {photograph.name}: label {detection.label} of {len(self.classes)} classes"
                    )
        return self

    @model_validator(mode="after")
    def _buckets_are_within_the_limits(self) -> Self:
        for bucket in self.buckets:
            if max(bucket) > self.limits.max_side:
                raise ValueError(
                    f"bucket {list(bucket)}: expected sides of at most {self.limits.max_side}"
                )
        return self

    @model_validator(mode="after")
    def _buckets_hold_every_size(self) -> Self:
        """The rule gives (short, L) with L <= max, and (S, max) with S <= short, either way round.

        So whatever holds (short, max) and whatever holds (max, short) hold all of them.
        """
        for bucket in self.buckets:
            if bucket[0] % FRAME_STRIDE or bucket[1] % FRAME_STRIDE:
                raise ValueError(f"bucket {list(bucket)}: expected multiples of {FRAME_STRIDE}")
        short, longest = self.resize.short_side, self.resize.max_side
        for height, width in ((short, longest), (longest, short)):
            if not any(h >= height and w >= width for h, w in self.buckets):
                raise ValueError(f"no bucket holds an image of {height} x {width}")
        return self


def read_manifest(text: str) -> Manifest:
    """The manifest in `text`, checked.

    Raises:
        InvalidModel: it is not JSON, has another schema number, or a key or value is not
        understood.
    """
    try:
        schema = json.loads(text)["schema"]
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidModel("the manifest is not a JSON object with a schema number") from error
    if schema != SCHEMA:
        remedy = (
            "upgrade the server"
            if _is_newer(schema)
            else "make it anew from its checkpoint: fpn-export CHECKPOINT --out FILE"
        )
        raise InvalidModel(f"this server reads manifest schema {SCHEMA}, got {schema!r}: {remedy}")
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise InvalidModel(f"the manifest is not understood: {where}: {first['msg']}") from error


def _is_newer(schema: object) -> bool:
    return isinstance(schema, int) and schema > SCHEMA
