"""The manifest: what an exported model says of itself; docs/artifact.md describes its keys.

The service serves a file only when it understands every key and value of its manifest.
"""

import json
from math import log2
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from service.errors import InvalidModel

SCHEMA = 2
# The last level that convolutions make, of the backbone's last stage; coarser ones are subsampled from it.
LAST_STAGE = 5

Size = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Level(_Part):
    """A pyramid level: its name and its stride in pixels of the frame."""

    name: Name
    stride: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_named_after_its_stride(self) -> Self:
        if self.name != f"P{log2(self.stride):g}":
            raise ValueError(f"level {self.name} with stride {self.stride}: expected 2 ** number")
        return self

    @property
    def number(self) -> int:
        """The number in the name: 2 for P2."""
        return int(self.name[1:])


class ResizeRule(_Part):
    """How content is brought to the model's scale; `service/pictures/framing.py` carries it out."""

    short_side: int = Field(ge=1)
    max_side: int = Field(ge=1)
    rounding: Literal["round", "floor"]
    interpolation: Literal["pillow-bilinear", "bilinear"]

    @model_validator(mode="after")
    def _sides_are_in_order(self) -> Self:
        if self.short_side > self.max_side:
            raise ValueError(f"short_side {self.short_side} is more than max_side {self.max_side}")
        return self


class Thresholds(_Part):
    """What the graph itself applies: class score, IoU between detections, IoU between proposals."""

    score: Probability
    nms: Probability
    proposal_nms: Probability


class Weights(_Part):
    """Under which licence the weights may be used, and what they were trained on."""

    license: str
    data: str


class Gate(_Part):
    """How the precision was judged before the file got its name.

    Attributes:
        kind: parity with torch, accuracy on a validation set, or off: nobody measured what int8 cost.
        report: what the accuracy gate measured, in points of 100.
        float_layers: the layers that int8 left in float32.
    """

    kind: Literal["parity", "accuracy", "off"]
    report: dict[str, float]
    float_layers: tuple[str, ...]


class Manifest(_Part):
    """The manifest of one model file."""

    schema_number: Literal[2] = Field(alias="schema")
    name: Name
    version: Name
    classes: tuple[Name, ...] = Field(min_length=1)
    levels: tuple[Level, ...] = Field(min_length=1)
    resize: ResizeRule
    buckets: tuple[Size, ...] = Field(min_length=1)
    precision: Literal["float32", "float16", "int8"]
    weight_bits: int | None = Field(None, ge=1, le=8)
    gate: Gate
    opset: int = Field(ge=1)
    thresholds: Thresholds
    max_detections: int = Field(ge=1)
    max_proposals: int = Field(ge=1)
    weights: Weights
    accuracy: dict[str, float]
    parity: dict[str, JsonValue]

    @property
    def grid(self) -> int:
        """What both sides of a frame are multiples of: the coarsest stride that convolutions must divide.

        P6 is subsampled from P5 and takes any side, so levels P2 to P6 need 32.
        """
        return int(2 ** min(LAST_STAGE, max(level.number for level in self.levels)))

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, names in (
            ("class", self.classes),
            ("level", [level.name for level in self.levels]),
            ("bucket", self.buckets),
        ):
            twice = {name for name in names if list(names).count(name) > 1}
            if twice:
                raise ValueError(f"{what} {sorted(twice)[0]} is there twice")
        return self

    @model_validator(mode="after")
    def _buckets_hold_every_size(self) -> Self:
        """The rule gives (short, L) with L <= max, and (S, max) with S <= short, either way round.

        So whatever holds (short, max) and whatever holds (max, short) hold all of them.
        """
        for bucket in self.buckets:
            if bucket[0] % self.grid or bucket[1] % self.grid:
                raise ValueError(f"bucket {list(bucket)}: expected multiples of {self.grid}")
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
        remedy = "upgrade the server" if _is_newer(schema) else "export the model again"
        raise InvalidModel(f"this server reads manifest schema {SCHEMA}, got {schema!r}: {remedy}")
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise InvalidModel(f"the manifest is not understood: {where}: {first['msg']}") from error


def _is_newer(schema: object) -> bool:
    return isinstance(schema, int) and schema > SCHEMA
