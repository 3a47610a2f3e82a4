"""torchvision's Faster R-CNN, trained as its reference script does."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.twin import torchvision_twin
from model.config.training import TrainConfig
from model.network.detector import Detector
from model.training.batches import Batch
from model.training.precision import Precision


class Peer:
    """Trains torchvision's detector on our batches, with our optimizer and precision.

    Args:
        detector: whose network, settings and first weights it has.
        config: the run.
        precision: of the network.
    """

    def __init__(self, detector: Detector, config: TrainConfig, precision: Precision) -> None:
        # The images come resized.
        self.network = torchvision_twin(detector, _skip_resize=True).train()
        self.config, self.precision = config, precision
        schedule = config.schedule
        self.optimizer = torch.optim.SGD(
            [p for p in self.network.parameters() if p.requires_grad],
            lr=schedule.scaled_learning_rate,
            momentum=schedule.momentum,
            weight_decay=schedule.weight_decay,
        )

    def step(self, _: int, batches: Sequence[Batch]) -> float:
        """The loss of a step on the one of `batches`."""
        [batch] = batches
        images, targets = [], []
        for image, size, boxes, labels in zip(
            batch.images, batch.sizes.tolist(), batch.gt_boxes, batch.gt_labels, strict=True
        ):
            images.append(image[:, : size[0], : size[1]] / 255.0)
            # torchvision's label 0 is the background
            targets.append({"boxes": boxes, "labels": labels + 1})
        with self.precision.autocast(torch.device("cpu")):
            total = sum(self.network(images, targets).values())
        assert isinstance(total, Tensor)
        self.optimizer.zero_grad()
        torch.autograd.backward(total)
        if self.config.schedule.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.schedule.clip_norm)
        self.optimizer.step()
        return total.item()
