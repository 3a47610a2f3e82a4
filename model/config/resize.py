"""The resize rule: what size an image becomes, and the frame that it is placed in.

Rule and buckets are part of the artifact's contract (docs/artifact.md, "The resize rule"): the service states them
a second time, and a contract test holds the two together pixel by pixel.

    size    (height, width) in pixels, always in this order
    content an image at the size that the rule gives it
    frame   the H x W array that a content is placed in, top-left; what the content leaves is zero
    bucket  a frame that inference may use; each image alone decides which, so that its neighbours in a batch cannot
            change its detections
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, Self

from pydantic.dataclasses import dataclass

from model.config.types import STRICT, Positive

Size = tuple[int, int]
Rounding = Literal["round", "floor"]
Interpolation = Literal["pillow-bilinear", "bilinear"]
Decoding = Literal["whole", "reduced"]

# Both sides of every frame are multiples of it: the stride of C5, the coarsest map that convolutions make, so that each
# map is exactly half of the one before and doubling undoes it. P6 is subsampled from P5, and takes any side.
FRAME_STRIDE = 32

# A JPEG that is decoded at a part of its size has at least so many times the sides of its content.
SPARE = 2

# How much longer than its aspect says a default bucket is: 500 x 333 is not quite 3:2.
SLACK = 1.02


def least_frame(contents: Iterable[Size]) -> Size:
    """The smallest frame that holds each of `contents`, of which there is at least one."""
    height, width = (_up_to_stride(max(sides)) for sides in zip(*contents, strict=True))
    return height, width


@dataclass(frozen=True, config=STRICT)
class ResizeRule:
    """What size an image becomes, and the frames that inference uses.

    The shorter side becomes `short_side`, unless the longer would then pass `max_side`.

    Attributes:
        rounding: of a resized side: half up (Detectron2), or down (torchvision).
        interpolation: Pillow's antialiased bilinear filter (Detectron2), or torch's plain one (torchvision).
        decoding: of a JPEG: whole (as others do), or reduced to a half, a quarter or an eighth of its sides, in a third
            of the time, where that leaves `SPARE` times its content's sides.
        buckets: where none are given, square, 4:3, 3:2, 16:9 and the longest that the rule allows, lying and standing,
            smallest area first: what cameras make, and little padding for each. The oblong ones have room for images
            that are off their aspect by a pixel or a crop (`SLACK`).
    """

    short_side: Positive = 800
    max_side: Positive = 1333
    rounding: Rounding = "round"
    interpolation: Interpolation = "pillow-bilinear"
    decoding: Decoding = "reduced"
    buckets: tuple[tuple[Positive, Positive], ...] = ()

    def __post_init__(self) -> None:
        """Derive the buckets where none are given; refuse buckets that some image would not fit."""
        if self.short_side > self.max_side:
            raise ValueError(
                f"expected short_side <= max_side, got {self.short_side} and {self.max_side}"
            )
        if not self.buckets:
            object.__setattr__(self, "buckets", self._default_buckets())
        for height, width in self.extremes:
            if not any(h >= height and w >= width for h, w in self.buckets):
                raise ValueError(
                    f"no bucket holds the {height} x {width} that the resize rule can give"
                )
        if any(side % FRAME_STRIDE for frame in self.buckets for side in frame):
            raise ValueError(
                f"both sides of a bucket must be multiples of {FRAME_STRIDE}, the coarsest stride"
            )

    @property
    def extremes(self) -> tuple[Size, Size]:
        """The longest content, lying and standing: frames that hold these two hold whatever the rule can give."""
        return (self.short_side, self.max_side), (self.max_side, self.short_side)

    def content_size(self, size: Size) -> Size:
        """The size that an image of `size` becomes.

        In float64 and torchvision's order of operations, which makes 799 of some shorter sides and not 800.

        Raises:
            ValueError: a side is less than one pixel.
        """
        if min(size) < 1:
            raise ValueError(f"an image has at least one pixel on each side, got {size}")
        scale = min(self.short_side / min(size), self.max_side / max(size))
        half = 0.5 if self.rounding == "round" else 0.0
        height, width = (max(1, math.floor(side * scale + half)) for side in size)
        return height, width

    def least_decoded(self, size: Size) -> Size | None:
        """The size that a JPEG of `size` must be decoded to at least; None where that is its own."""
        if self.decoding == "whole":
            return None
        height, width = self.content_size(size)
        return SPARE * height, SPARE * width

    def bucket(self, content: Size) -> Size:
        """The bucket of smallest area that holds `content`; of equals, the first in the list.

        Raises:
            ValueError: no bucket holds it, which is so of no size that the rule gives.
        """
        height, width = content
        holding = [frame for frame in self.buckets if frame[0] >= height and frame[1] >= width]
        if not holding:
            raise ValueError(
                f"no bucket holds (height, width) {content}; there are {list(self.buckets)}"
            )
        return min(holding, key=math.prod)

    def at_short_side(self, short_side: int) -> Self:
        """The rule with another short side, its longest side in proportion, and default buckets.

        At its own short side it is the rule as it is.
        """
        if short_side == self.short_side:
            return self
        max_side = round(self.max_side * short_side / self.short_side)
        return replace(self, short_side=short_side, max_side=max_side, buckets=())

    def with_buckets(self, buckets: tuple[Size, ...] = ()) -> Self:
        """The rule with other buckets, or with the default ones."""
        return replace(self, buckets=buckets)

    def _default_buckets(self) -> tuple[Size, ...]:
        short, longest = self.short_side, self.max_side
        aspects = (1, SLACK * 4 / 3, SLACK * 3 / 2, SLACK * 16 / 9, longest / short)
        lying = [least_frame([(short, min(longest, round(short * a)))]) for a in aspects]
        frames = {*lying, *((width, height) for height, width in lying)}
        return tuple(sorted(frames, key=lambda frame: (math.prod(frame), frame)))


def _up_to_stride(side: int) -> int:
    return -(-side // FRAME_STRIDE) * FRAME_STRIDE
