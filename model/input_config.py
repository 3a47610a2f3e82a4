"""The settings of a detector that say what becomes of a photograph before the network (see config.py for the rest)."""

from typing import Literal

from pydantic.dataclasses import dataclass

from model.config_types import STRICT, Length, Positive
from model.transforms import Interpolation, Rounding, default_buckets


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


@dataclass(frozen=True, config=STRICT)
class PixelConfig:
    """What becomes of an 8-bit RGB pixel before the network: (pixel / scale - mean) / std, channels in `order`.

    The defaults are ImageNet's, as torchvision's weights expect them.
    """

    order: Literal["rgb", "bgr"] = "rgb"
    scale: Length = 255.0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[Length, Length, Length] = (0.229, 0.224, 0.225)
