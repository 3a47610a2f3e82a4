"""The tensors of the artifact: their names, types and ranks, and what the model gives.

Dimensions: N images of a batch, H x W of its frame, D detections, L levels, K proposals of each,
E regions of the caller's own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# name: (type, rank)
INPUTS = {
    "images": ("tensor(uint8)", 4),
    "sizes": ("tensor(int64)", 2),
    "regions": ("tensor(float)", 3),
}
OUTPUTS = {
    "boxes": ("tensor(float)", 3),
    "scores": ("tensor(float)", 2),
    "labels": ("tensor(int64)", 2),
    "levels": ("tensor(int64)", 2),
    "counts": ("tensor(int64)", 1),
    "proposals": ("tensor(int64)", 3),
    "proposal_boxes": ("tensor(float)", 4),
    "proposal_scores": ("tensor(float)", 3),
    "proposal_counts": ("tensor(int64)", 2),
    "region_boxes": ("tensor(float)", 3),
    "region_scores": ("tensor(float)", 2),
    "region_labels": ("tensor(int64)", 2),
    "region_levels": ("tensor(int64)", 2),
}


@dataclass(frozen=True)
class Outputs:
    """What the model gives for a batch, or, indexed, for one image of it (without N).

    Attributes:
        boxes: float32 [N, D, 4], xyxy pixels of the frame, best score first, zero-padded.
        scores: float32 [N, D], descending; zero past `counts`.
        labels: int64 [N, D], index into the manifest's classes.
        levels: int64 [N, D], number of the level that the detection was pooled from.
        counts: int64 [N], detections that are real.
        proposals: int64 [N, D, 2], the proposal behind each detection: its level's place among L, and
            its index among that level's K.
        proposal_boxes: float32 [N, L, K, 4], xyxy pixels of the frame, best first.
        proposal_scores: float32 [N, L, K], objectness probability.
        proposal_counts: int64 [N, L], proposals that are real.
        region_boxes: float32 [N, E, 4], xyxy pixels of the frame: the caller's regions, refined.
        region_scores: float32 [N, E], probability of each region's best class.
        region_labels: int64 [N, E], that class.
        region_levels: int64 [N, E], number of the level that the region was pooled from.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    levels: NDArray[np.int64]
    counts: NDArray[np.int64]
    proposals: NDArray[np.int64]
    proposal_boxes: NDArray[np.float32]
    proposal_scores: NDArray[np.float32]
    proposal_counts: NDArray[np.int64]
    region_boxes: NDArray[np.float32]
    region_scores: NDArray[np.float32]
    region_labels: NDArray[np.int64]
    region_levels: NDArray[np.int64]

    def __getitem__(self, index: int) -> "Outputs":
        """The outputs of image `index`: each array without its first dimension."""
        return Outputs(**{name: getattr(self, name)[index] for name in OUTPUTS})
