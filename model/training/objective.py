"""What training minimises: from a batch through the network to the losses of the run's stage.

Source: section 4 of the FPN paper; joint training of both heads, as Detectron and torchvision do it, or one
stage by itself, as in the paper (stages.py).

Legend
    N   images of the batch                  G   ground-truth boxes of an image
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config.training import TrainConfig
from model.network.detector import Detector
from model.network.proposals import Proposals, best_of_all_levels, propose, stacked
from model.training.batches import Batch
from model.training.cell_table import Cells, neighbourhoods, pooled_regions, table_of
from model.training.losses import Losses, roi_losses, rpn_losses
from model.training.precision import Precision
from model.training.sampling import generator_of
from model.training.targets import sample_anchors, sample_regions


@dataclass(frozen=True)
class Seen:
    """What the losses of both heads look at: a batch, its maps [N, d, H, W], and the maps as one table of cells.

    `draws` choose the samples, one for each image.
    """

    batch: Batch
    maps: tuple[Tensor, ...]
    cells: Cells
    draws: Sequence[torch.Generator]


class Objective:
    """The losses of a run.

    Args:
        detector: that is trained.
        config: the run's; its stage decides which losses there are, its seed what they look at.
        precision: of the network; losses and box arithmetic stay float32.
    """

    def __init__(self, detector: Detector, config: TrainConfig, precision: Precision) -> None:
        self.detector, self.config, self.precision = detector, config, precision

    def losses(self, step: int, batch: Batch) -> Losses:
        """What `batch`, on the detector's device, adds to the losses of step number `step`."""
        stage = self.config.stage
        seen = self._seen(step, batch)
        if stage == "fast":
            return Losses(None, None, *self._region_losses(seen, stacked(batch.proposals)))
        of_anchors = self._anchor_losses(seen)
        if stage == "rpn":
            return Losses(*of_anchors)
        return Losses(*of_anchors, *self._region_losses(seen, self._proposals(seen)))

    def _seen(self, step: int, batch: Batch) -> Seen:
        images = self.detector.normalise(batch.images, batch.sizes)
        with self._autocast():
            maps = self.detector.features(images.contiguous(memory_format=torch.channels_last))
        draws = [generator_of(self.config.seed, step, place) for place in batch.positions]
        return Seen(batch, maps, table_of(maps), draws)

    def _anchor_losses(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """The objectness and proposal-box losses; the head looks only at the anchors that are drawn."""
        detector, config = self.detector, self.detector.config.rpn
        anchors = torch.cat([grid.all() for grid in detector.anchors(seen.maps)])
        chosen = sample_anchors(anchors, seen.batch.gt_boxes, config, seen.draws)
        shapes = detector.rpn.anchors_per_cell
        with self._autocast():
            prepared = detector.rpn.prepared(seen.maps)
            cells = seen.cells if prepared is seen.maps else table_of(prepared)
            around = neighbourhoods(cells, chosen.images, chosen.places // shapes)
            predictions = detector.rpn.at(around, chosen.places % shapes)
        return rpn_losses(predictions, chosen, seen.batch.whole, config)

    @torch.no_grad()
    def _proposals(self, seen: Seen) -> Proposals:
        """What the proposal head offers the region head in joint training: it looks at all anchors."""
        rpn = self.detector.config.rpn
        with self._autocast():
            predictions = self.detector.rpn(seen.maps)
        anchors = self.detector.anchors(seen.maps)
        by_level = propose(predictions, anchors, seen.batch.sizes, rpn, rpn.pre_nms_train)
        return best_of_all_levels(by_level, rpn.post_nms_train)

    def _region_losses(self, seen: Seen, proposals: Proposals) -> tuple[Tensor, Tensor]:
        """The classification and box losses on regions drawn from `proposals` and ground truth."""
        detector, config, batch = self.detector, self.detector.config.roi, seen.batch
        regions = sample_regions(
            proposals,
            batch.gt_boxes,
            batch.gt_labels,
            len(detector.class_names),
            config,
            seen.draws,
        )
        where = regions.boxes, regions.images, config, detector.pooled_levels
        with self._autocast():
            pooled = pooled_regions(seen.maps, seen.cells, *where)
            predictions = detector.roi(pooled)
        return roi_losses(predictions, regions, batch.whole, config)

    def _autocast(self) -> AbstractContextManager[None]:
        return self.precision.autocast(self.detector.device)
