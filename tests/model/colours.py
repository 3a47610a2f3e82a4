"""A detector that is right only if every mapping between photograph, frame and result is."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.config.detector import DetectorConfig
from model.config.resize import ResizeRule, Size
from model.network.detector import Detections
from tests.model.conftest import GREEN, RED

LEVEL_NAMES = ("P2", "P3", "P4", "P5", "P6")


@dataclass
class ColourDetector:
    """Finds the red and the green rectangle of an image: right only if every mapping is.

    It proposes red ones on P2 and green ones on P5, and pools them from there. Behind the detections and proposals that
    count it leaves rubbish, which must not be read.
    """

    class_names: tuple[str, ...] = ("red", "green")
    level_names: tuple[str, ...] = LEVEL_NAMES
    config: DetectorConfig = field(
        default_factory=lambda: DetectorConfig(resize=ResizeRule(short_side=128, max_side=224))
    )
    device: torch.device = torch.device("cpu")
    batches: list[tuple[Size, int]] = field(default_factory=list)

    def detect(self, images: Tensor, sizes: Tensor) -> Detections:
        N, _, H, W = images.shape
        self.batches.append(((H, W), N))
        boxes, scores, labels = torch.full((N, 4, 4), 7.0), torch.ones(N, 4), torch.zeros(N, 4)
        counts = torch.zeros(N, dtype=torch.int64)
        proposals, proposal_counts = torch.full((N, 5, 2, 4), 9.0), torch.zeros(N, 5)
        for n, image in enumerate(images):
            content = image[:, : sizes[n, 0], : sizes[n, 1]]
            for label in (RED, GREEN):
                ys, xs = torch.nonzero(content[label] > 127, as_tuple=True)
                if len(ys):
                    place = counts[n]
                    corners = torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
                    boxes[n, place], labels[n, place] = corners.float(), label
                    scores[n, place] = 0.9 - 0.1 * place
                    counts[n] += 1
                    level = {RED: 0, GREEN: 3}[label]
                    proposals[n, level, 0], proposal_counts[n, level] = corners.float(), 1
        levels = torch.where(labels == RED, 2, 5)
        found = (boxes, scores, labels.long(), levels, counts)
        places, none = torch.zeros(N, 4, 2, dtype=torch.int64), torch.zeros(N, 0)
        regions = (torch.zeros(N, 0, 4), none, none.long(), none.long())
        proposed = (proposals, torch.ones(N, 5, 2), proposal_counts.long())
        return Detections(*found, places, *proposed, *regions)
