import torch
from torch import nn

from model.config.detector import RoiConfig
from model.network.roi import Conv5Head, RoiHead

CONFIG = RoiConfig(resolution=3, fc_channels=16)


def test_the_head_is_two_layers_and_two_siblings_with_background_last() -> None:
    head = RoiHead(5, 7, CONFIG)
    shapes = {n: tuple(p.shape) for n, p in head.named_parameters() if n.endswith("weight")}
    assert shapes == {
        "fc1.weight": (16, 5 * 3 * 3),
        "fc2.weight": (16, 16),
        "logits.weight": (8, 16),
        "deltas.weight": (28, 16),
    }
    logits, deltas = head(torch.randn(4, 5, 3, 3))
    assert logits.shape == (4, 8)
    assert deltas.shape == (4, 7, 4)


def test_the_head_computes_relu_after_each_layer_and_none_after_the_last() -> None:
    torch.manual_seed(0)
    head, pooled = RoiHead(5, 7, CONFIG), torch.randn(4, 5, 3, 3)
    hidden = (pooled.reshape(4, 45) @ head.fc1.weight.T + head.fc1.bias).clamp(min=0)
    hidden = (hidden @ head.fc2.weight.T + head.fc2.bias).clamp(min=0)
    logits, deltas = head(pooled)
    torch.testing.assert_close(logits, hidden @ head.logits.weight.T)
    expected = (hidden @ head.deltas.weight.T).reshape(4, 7, 4)
    torch.testing.assert_close(deltas, expected)


def test_the_conv5_head_is_the_stage_averaged_and_two_siblings() -> None:
    torch.manual_seed(0)
    stage = nn.Conv2d(5, 6, 3, stride=2, padding=1)
    head, pooled = Conv5Head(stage, 6, 7), torch.randn(4, 5, 14, 14)
    hidden = stage(pooled).flatten(2).mean(dim=2)
    logits, deltas = head(pooled)
    torch.testing.assert_close(logits, hidden @ head.logits.weight.T)
    torch.testing.assert_close(deltas, (hidden @ head.deltas.weight.T).reshape(4, 7, 4))
