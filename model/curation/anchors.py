"""Anchors for a data set: the scale and the ratios that its boxes, at the size that the network sees, overlap best."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.config.detector import AnchorConfig

# The finest level's size: from its own stride, 4, to twice what the paper has.
_FINEST = (4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)
# Height / width; the paper's first.
_RATIOS = ((0.5, 1.0, 2.0), (0.4, 1.0, 2.5), (1 / 3, 1.0, 3.0), (0.25, 0.5, 1.0, 2.0, 4.0))
# How much more overlap asks for other anchors than the paper's.
_GAIN = 0.01
LEVELS = 5


class Fit(NamedTuple):
    """Anchors and the mean overlap (IoU of shapes) of the boxes with the best of them, beside the default's."""

    sizes: tuple[float, ...]
    ratios: tuple[float, ...]
    overlap: float
    default: float


def fitted(boxes: npt.NDArray[np.float32]) -> Fit:
    """The anchors for boxes [B, 4] in pixels of the network's input; the paper's where no others are better."""
    sides = boxes[:, 2:] - boxes[:, :2]
    plain = AnchorConfig()
    default = _overlap(sides, plain.sizes, plain.ratios)
    best = Fit(plain.sizes, plain.ratios, default + _GAIN, default)
    for finest in _FINEST:
        sizes = tuple(float(finest * 2**level) for level in range(LEVELS))
        for ratios in _RATIOS:
            # More anchors a cell cost time, and must be worth it.
            overlap = _overlap(sides, sizes, ratios) - _GAIN * (len(ratios) - len(plain.ratios))
            if overlap > best.overlap:
                best = Fit(sizes, ratios, overlap, default)
    return best._replace(overlap=_overlap(sides, best.sizes, best.ratios))


def _overlap(
    sides: npt.NDArray[np.float32], sizes: Sequence[float], ratios: Sequence[float]
) -> float:
    """The mean over boxes of (width, height) of the best IoU with an anchor at the same centre."""
    if not len(sides):
        return 0.0
    anchors = np.array([(s / r**0.5, s * r**0.5) for s in sizes for r in ratios])
    common = np.minimum(sides[:, None], anchors).prod(axis=-1)  # (B, A)
    union = sides.prod(axis=-1)[:, None] + anchors.prod(axis=-1) - common
    return float((common / union).max(axis=1).mean())
