"""What export measured and the manifest carries along: best thresholds, golden photographs, reference histograms.

Boxes are (x1, y1, x2, y2) in pixels of the upright image.
"""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from service.artifact.parts import Count, Name, Part, Probability, Size, Text


class OperatingPoint(Part):
    """A score threshold, and what a validation set's detections at and above it are worth."""

    score: Probability
    precision: Probability
    recall: Probability


class Thresholds(Part):
    """The thresholds of the best F1 on validation.

    Attributes:
        every: the one for all classes together.
        classes: that of each class; None for a class without boxes in the set.
    """

    every: OperatingPoint
    classes: tuple[OperatingPoint | None, ...]


class Tolerance(Part):
    """How far an answer may be from export's: in probability, and in pixels of the image."""

    score: float = Field(ge=0)
    box: float = Field(ge=0)


class GoldenDetection(Part):
    """A detection that export saw."""

    label: Count
    score: Probability
    box: tuple[float, float, float, float]


class GoldenPhotograph(Part):
    """A small photograph, and what export saw in it.

    Attributes:
        jpeg: its file, in base64.
        content, bucket: (height, width) that it was resized to, and of its frame.
        means: of red, green and blue over its content in the frame, 0 to 255. They tell a decoder or a resize that
            differs from a kernel that does.
        detections: best score first.
    """

    name: Name
    jpeg: Text
    content: Size
    bucket: Size
    means: tuple[float, float, float]
    detections: tuple[GoldenDetection, ...]


class Golden(Part):
    """Photographs whose answers are known, and how far an answer may be from them.

    Attributes:
        least_score: detections below it are not compared.
    """

    tolerance: Tolerance
    least_score: Probability
    photographs: tuple[GoldenPhotograph, ...] = Field(min_length=1)


class Bins(Part):
    """Bin k holds values from edges[k] up to edges[k + 1]; the last one includes its upper end."""

    edges: tuple[float, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _edges_rise(self) -> Self:
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError(f"expected edges that rise, got {list(self.edges)}")
        return self


class Histogram(Bins):
    """How many values fell into each bin; those outside count in the first or the last."""

    counts: tuple[Count, ...]

    @model_validator(mode="after")
    def _counts_fit(self) -> Self:
        if len(self.counts) != len(self.edges) - 1:
            raise ValueError(f"{len(self.counts)} counts for {len(self.edges) - 1} bins")
        return self


class ClassHistograms(Bins):
    """A histogram for each class, over the same bins."""

    counts: tuple[tuple[Count, ...], ...]

    @model_validator(mode="after")
    def _counts_fit(self) -> Self:
        if any(len(row) != len(self.edges) - 1 for row in self.counts):
            raise ValueError(f"expected {len(self.edges) - 1} counts for each class")
        return self


class Reference(Part):
    """What the model saw in validation, to tell when it is shown something else.

    Attributes:
        images: photographs of the set.
        least_score: detections below it are not counted.
        scores: of the detections of each class.
        detections: of an image.
        levels: how many detections were pooled from each level, in the order of the manifest's levels.
        sizes: square root of an upright photograph's pixels.
    """

    images: Annotated[int, Field(ge=1)]
    least_score: Probability
    scores: ClassHistograms
    detections: Histogram
    levels: tuple[Count, ...]
    sizes: Histogram
