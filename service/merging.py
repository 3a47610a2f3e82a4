"""What the whole of a photograph and its tiles have found, as one list.

    the tiles    all but what an inner edge cuts off, which is whole in a neighbour or longer than the overlap
    the whole    what is longer than half of a tile, which tiles cut more often than not

Of what is found twice, by overlap of two boxes of a class from different places, the better score stays.
docs/results.md has what other rules gave.
"""

from collections.abc import Sequence
from dataclasses import replace

from service.artifact.manifest import Manifest
from service.artifact.tensors import Outputs
from service.detections import BOX_DECIMALS, Box, Detected, Detection, Wanted, detected
from service.pictures.framing import Size
from service.pictures.tiling import Shot, Window

# A box that ends within this part of a tile's side of an inner edge goes on behind it.
AT_THE_EDGE = 0.01


def detected_in(
    shots: Sequence[tuple[Shot, Outputs]], manifest: Manifest, wanted: Wanted, regions: int
) -> Detected:
    """What the outputs of the whole image, which come first, and of its tiles say, as one."""
    (first, outputs), *rest = shots
    if not rest:
        return detected(outputs, first.frame, manifest, wanted, regions)
    every = replace(wanted, max_detections=None)
    whole = detected(outputs, first.frame, manifest, every, regions)
    tiles = [
        (shot.window, detected(each, shot.frame, manifest, every).detections)
        for shot, each in rest
        if shot.window is not None
    ]
    iou = manifest.suppression.nms
    found = merged(whole.detections, tiles, first.frame.original, iou)
    most = wanted.max_detections or manifest.max_detections
    return replace(whole, detections=found[:most], tiles=len(tiles))


def merged(
    whole: Sequence[Detection],
    tiles: Sequence[tuple[Window, Sequence[Detection]]],
    original: Size,
    iou: float,
) -> list[Detection]:
    """The detections of a photograph of size `original`, best first; above `iou` two boxes of a class are one object.

    Those of a tile come in pixels of the tile, and leave with its number.
    """
    half = max((max(window[2:]) for window, _ in tiles), default=0) / 2
    found = [each for each in whole if _side(each.box) >= half]
    for number, (window, detections) in enumerate(tiles):
        found += [
            replace(each, box=_shifted(each.box, window), tile=number)
            for each in detections
            if not _is_cut(each.box, window, original)
        ]
    return _suppressed(sorted(found, key=lambda each: -each.score), iou)


def _side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _is_cut(box: Box, window: Window, original: Size) -> bool:
    top, left, height, width = window
    near = AT_THE_EDGE * max(height, width)
    return (
        (left > 0 and box[0] <= near)
        or (top > 0 and box[1] <= near)
        or (left + width < original[1] and box[2] >= width - near)
        or (top + height < original[0] and box[3] >= height - near)
    )


def _shifted(box: Box, window: Window) -> Box:
    top, left = window[:2]
    x1, y1, x2, y2 = (
        round(value + start, BOX_DECIMALS)
        for value, start in zip(box, (left, top, left, top), strict=True)
    )
    return x1, y1, x2, y2


def _suppressed(found: Sequence[Detection], iou: float) -> list[Detection]:
    kept: list[Detection] = []
    for each in found:
        if not any(_is_the_same(other, each, iou) for other in kept):
            kept.append(each)
    return kept


def _is_the_same(one: Detection, other: Detection, iou: float) -> bool:
    # What one list has apart, suppression in the graph has left apart.
    if one.label != other.label or one.tile == other.tile:
        return False
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = one.box, other.box
    shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    areas = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1)
    return shared > iou * (areas - shared)
