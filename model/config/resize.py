"""The resize rule: what size a photograph becomes, and the frame that it is placed in.

Rule and buckets are part of the artifact's contract (docs/architecture.md, "The resize rule"): the service states them
a second time, and a contract test holds the two together pixel by pixel.

    size    (height, width) in pixels, always in this order
    frame   the H x W array that an image is placed in, top-left; what the image leaves is zero
    bucket  a frame that inference may use; each image alone decides which, so that its neighbours in a batch cannot
            change its detections
"""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic.dataclasses import dataclass

from model.config.types import STRICT, Positive

Size = tuple[int, int]


Rounding = Literal["round", "floor"]


Interpolation = Literal["pillow-bilinear", "bilinear"]


# How much longer than its aspect says a default bucket is: 500 x 333 is not quite 3:2.
SLACK = 1.02


def resized_size(size: Size, short_side: int, max_side: int, rounding: Rounding = "round") -> Size:
    """Return the size that the resize rule gives to content of `size`.

    The shorter side becomes `short_side`, unless the longer would then pass `max_side`. Sides are rounded half up, or
    down: in float64 and torchvision's order of operations, which makes 799 of some shorter sides and not 800.

    Raises:
        ValueError: a side is less than one pixel.
    """
    if min(size) < 1:
        raise ValueError(f"an image has at least one pixel on each side, got {size}")
    scale = min(short_side / min(size), max_side / max(size))
    half = 0.5 if rounding == "round" else 0.0
    height, width = (max(1, math.floor(side * scale + half)) for side in size)
    return height, width


def round_up(side: int, stride: int) -> int:
    """Return the smallest multiple of `stride` that is not less than `side`."""
    return -(-side // stride) * stride


def default_buckets(short_side: int, max_side: int, stride: int = 32) -> tuple[Size, ...]:
    """Return frames that hold every size which the resize rule can give, smallest area first.

    They are the square, 4:3, 3:2, 16:9 and the longest that the rule allows, in both orientations,
    rounded up to multiples of `stride`: what cameras make, and little padding for each. The
    oblong ones have room for pictures that are off their aspect by a pixel or a crop (`SLACK`).

    Raises:
        ValueError: `short_side` is not within 1..`max_side`.
    """
    if not 1 <= short_side <= max_side:
        raise ValueError(f"expected 1 <= short_side <= max_side, got {short_side} and {max_side}")
    short = round_up(short_side, stride)
    aspects = (1, SLACK * 4 / 3, SLACK * 3 / 2, SLACK * 16 / 9, max_side / short_side)
    long_sides = (
        resized_size((short_side, round(short_side * a)), short_side, max_side)[1] for a in aspects
    )
    frames = set()
    for long in (round_up(side, stride) for side in long_sides):
        frames |= {(short, long), (long, short)}
    return tuple(sorted(frames, key=lambda frame: (frame[0] * frame[1], frame)))


def choose_bucket(size: Size, buckets: Sequence[Size]) -> Size:
    """Return the bucket of smallest area that holds `size`; of equals, the first in the list.

    Raises:
        ValueError: no bucket holds it.
    """
    holding = [frame for frame in buckets if frame[0] >= size[0] and frame[1] >= size[1]]
    if not holding:
        raise ValueError(f"no bucket holds (height, width) {size}; there are {list(buckets)}")
    return min(holding, key=lambda frame: frame[0] * frame[1])


@dataclass(frozen=True, config=STRICT)
class ResizeConfig:
    """The resize rule (docs/architecture.md) and the frames that inference uses, as (height, width).

    No buckets given means square, 4:3 and widest frames, derived from the two sides.

    Attributes:
        rounding: of a resized side: half up (Detectron2), or down (torchvision).
        interpolation: Pillow's antialiased bilinear filter (Detectron2), or torch's plain one (torchvision).
    """

    short_side: Positive = 800
    max_side: Positive = 1333
    rounding: Rounding = "round"
    interpolation: Interpolation = "pillow-bilinear"
    buckets: tuple[tuple[Positive, Positive], ...] = ()

    def __post_init__(self) -> None:
        """Derive the buckets where none are given; refuse buckets that some photograph would not fit."""
        if self.short_side > self.max_side:
            raise ValueError(
                f"expected short_side <= max_side, got {self.short_side} and {self.max_side}"
            )
        if not self.buckets:
            object.__setattr__(self, "buckets", default_buckets(self.short_side, self.max_side))
        for height, width in ((self.short_side, self.max_side), (self.max_side, self.short_side)):
            if not any(h >= height and w >= width for h, w in self.buckets):
                raise ValueError(
                    f"no bucket holds the {height} x {width} that the resize rule can give"
                )
        if any(side % 32 for frame in self.buckets for side in frame):
            raise ValueError("both sides of a bucket must be multiples of 32, the coarsest stride")
