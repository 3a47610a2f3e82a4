"""Fast R-CNN's head on pooled regions (section 4.2 of the FPN paper): its weights are shared by all levels.

Legend
    M   regions, of any number of images        C   foreground classes; background is column C
    d   pyramid channels                        S   pooled resolution (7)
"""

from itertools import pairwise
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from model.config.detector import RoiConfig
from model.network.convolutions import convolution, xavier_fill
from model.network.widening import widened


class RoiPredictions(NamedTuple):
    """What the head says of M regions: logits [M, C + 1], background last, and deltas [M, C, 4] for each class."""

    logits: Tensor
    deltas: Tensor


class RoiHead(nn.Module):
    """3x3 convolutions if any, fully connected layers, then sibling class and class-specific box predictions.

    The paper has no convolutions and two layers, fc1 and fc2. The layers start at Caffe2's Xavier fill.
    """

    fc1: nn.Linear
    fc2: nn.Linear

    def __init__(self, channels: int, num_classes: int, config: RoiConfig) -> None:
        super().__init__()
        widths = [channels, *config.conv_channels]
        self.convs = nn.ModuleList(convolution(c, d, 3, config.norm) for c, d in pairwise(widths))
        inputs = widths[-1] * config.resolution**2
        self._fc_names = [f"fc{number}" for number in range(1, config.fc_layers + 1)]
        for name in self._fc_names:
            self.add_module(name, nn.Linear(inputs, config.fc_channels))
            inputs = config.fc_channels
        self.logits = nn.Linear(inputs, num_classes + 1)
        self.deltas = nn.Linear(inputs, num_classes * 4)
        for part in (self.convs, *map(self.get_submodule, self._fc_names)):
            xavier_fill(part)
        _start_predictors(self.logits, self.deltas)

    def forward(self, pooled: Tensor) -> RoiPredictions:
        """Predictions, float32, for `pooled` [M, d, S, S]."""
        for convolve in self.convs:
            pooled = F.relu(convolve(pooled))
        hidden = pooled.flatten(1)  # (M, d, S, S) -> (M, d*S*S)
        for name in self._fc_names:
            hidden = F.relu(self.get_submodule(name)(hidden))
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
