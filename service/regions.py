"""Regions of the caller's own: boxes that the second stage classifies and refines.

They come in pixels of the upright image, float32 [E, 4] as x1, y1, x2, y2, and go to the model in pixels of the frame.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRegions
from service.pictures.framing import Frame

Regions = NDArray[np.float32]
NO_REGIONS: Regions = np.zeros((0, 4), np.float32)
# How far past the border a box may reach: what rounding to hundredths of a pixel does, and no more.
SLACK = 0.01


def regions_of(boxes: Sequence[Sequence[float]], most: int) -> Regions:
    """The regions of one image.

    Raises:
        InvalidRegions: more than `most`, or one that is no box; the first is named.
    """
    if len(boxes) > most:
        raise InvalidRegions(f"regions: expected at most {most} of an image, got {len(boxes)}")
    for place, box in enumerate(boxes):
        if len(box) != 4 or not np.isfinite(box).all():
            raise InvalidRegions(
                f"regions: expected four finite numbers, number {place} is {list(box)}"
            )
        if box[2] <= box[0] or box[3] <= box[1]:
            raise InvalidRegions(
                f"regions: expected x1 < x2 and y1 < y2, number {place} is {list(box)}"
            )
    return np.array(boxes, np.float32).reshape(-1, 4)


def in_frame(regions: Regions, frame: Frame) -> Regions:
    """`regions` in pixels of the frame that their image lies in.

    Raises:
        InvalidRegions: one reaches out of the image; the first is named.
    """
    height, width = frame.original
    within = (regions >= -SLACK) & (regions <= np.array([width, height] * 2) + SLACK)
    outside = np.flatnonzero(~within.all(axis=1))
    if len(outside):
        first = int(outside[0])
        raise InvalidRegions(
            f"regions: expected boxes inside the image of {width} x {height} pixels, number {first} is"
            f" {regions[first].tolist()}"
        )
    ratios = np.array([frame.content[1] / width, frame.content[0] / height] * 2)
    scaled: Regions = (regions * ratios).astype(np.float32)
    return scaled
