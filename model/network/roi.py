"""Fast R-CNN's head on pooled regions (section 4.2 of the FPN paper): its weights are shared by all levels.

Legend
    M   regions, of any number of images        C   foreground classes; background is column C
    d   pyramid channels                        S   pooled resolution (7)
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from model.config.detector import RoiConfig
from model.network.widening import widened


class RoiPredictions(NamedTuple):
    """What the head says of M regions: logits [M, C + 1], background last, and deltas [M, C, 4] for each class."""

    logits: Tensor
    deltas: Tensor


class RoiHead(nn.Module):
    """Two fully connected layers, then sibling class and class-specific box predictions.

    The layers start at Caffe2's Xavier fill.
    """

    def __init__(self, channels: int, num_classes: int, config: RoiConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels * config.resolution**2, config.fc_channels)
        self.fc2 = nn.Linear(config.fc_channels, config.fc_channels)
        self.logits = nn.Linear(config.fc_channels, num_classes + 1)
        self.deltas = nn.Linear(config.fc_channels, num_classes * 4)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
        _start_predictors(self.logits, self.deltas)

    def forward(self, pooled: Tensor) -> RoiPredictions:
        """Predictions, float32, for `pooled` [M, d, S, S]."""
        hidden = F.relu(self.fc1(pooled.flatten(1)))  # (M, d, S, S) -> (M, d*S*S)
        hidden = F.relu(self.fc2(hidden))
        return _predictions(self.logits(hidden), self.deltas(hidden))


class Conv5Head(nn.Module):
    """The backbone's last stage on regions pooled from C4, averaged over the region (tables 2 and 3, row a).

    The stage halves 14 x 14 samples to 7 x 7. Of a ResNet it is conv5; of MobileNetV2 its blocks of stride 32.

    Args:
        stage: those layers, with their ImageNet weights.
        channels: that they put out.
        num_classes: C.
    """

    def __init__(self, stage: nn.Module, channels: int, num_classes: int) -> None:
        super().__init__()
        self.stage = stage
        self.logits = nn.Linear(channels, num_classes + 1)
        self.deltas = nn.Linear(channels, num_classes * 4)
        _start_predictors(self.logits, self.deltas)

    def forward(self, pooled: Tensor) -> RoiPredictions:
        """Predictions, float32, for `pooled` [M, channels of C4, S, S]."""
        hidden = self.stage(pooled).mean(dim=(2, 3))  # (M, channels, S/2, S/2) -> (M, channels)
        return _predictions(self.logits(hidden), self.deltas(hidden))


def _start_predictors(logits: nn.Linear, deltas: nn.Linear) -> None:
    """As in Detectron: N(0, 0.01) and N(0, 0.001), zero biases."""
    nn.init.normal_(logits.weight, std=0.01)
    nn.init.normal_(deltas.weight, std=0.001)
    for layer in (logits, deltas):
        nn.init.zeros_(layer.bias)


def _predictions(logits: Tensor, deltas: Tensor) -> RoiPredictions:
    num_classes = logits.shape[1] - 1
    deltas = deltas.reshape(-1, num_classes, 4)  # (M, C*4) -> (M, C, 4)
    return RoiPredictions(widened(logits), widened(deltas))
