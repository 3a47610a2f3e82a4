import pytest
import torch
from torch import nn

from model.network.rpn import RpnHead
from tests.model.network.predictions import A, at


@pytest.fixture
def head() -> RpnHead:
    torch.manual_seed(0)
    return RpnHead(6, 6, A)


def test_the_head_has_one_set_of_weights_for_all_levels(head: RpnHead) -> None:
    shapes = {name: tuple(value.shape) for name, value in head.named_parameters()}
    assert shapes == {
        "conv.weight": (6, 6, 3, 3),
        "conv.bias": (6,),
        "logits.weight": (3, 6, 1, 1),
        "logits.bias": (3,),
        "deltas.weight": (12, 6, 1, 1),
        "deltas.bias": (12,),
    }
    features = torch.randn(2, 6, 5, 9)
    first, other, again = head((features, torch.randn(2, 6, 3, 4), features))
    assert torch.equal(first.logits, again.logits)
    assert torch.equal(first.deltas, again.deltas)
    assert other.logits.shape == (2, 3 * 4 * A)
    assert other.deltas.shape == (2, 3 * 4 * A, 4)


def test_the_head_starts_at_small_weights_and_no_biases(head: RpnHead) -> None:
    for name, value in head.named_parameters():
        if name.endswith("bias"):
            assert not value.any()
    assert head.conv.weight.std().item() == pytest.approx(0.01, rel=0.2)


def test_predictions_stand_in_the_order_of_the_anchors(head: RpnHead) -> None:
    rows, columns, row, column, ratio = 5, 9, 3, 7, 2
    features = torch.zeros(1, 6, rows, columns)
    features[0, 1, row, column] = 1.0
    with torch.no_grad():  # the 3x3 passes channel 1 through; anchor kind 2 alone listens to it
        for layer in (head.conv, head.logits, head.deltas):
            nn.init.zeros_(layer.weight)
        head.conv.weight[1, 1, 1, 1] = 1.0
        head.logits.weight[ratio, 1] = 5.0
        head.deltas.weight[ratio * 4 : ratio * 4 + 4, 1, 0, 0] = torch.tensor([1.0, 2, 3, 4])
    [level] = head((features,))
    place = at(row, column, ratio, columns)
    assert level.logits.nonzero().tolist() == [[0, place]]
    assert level.deltas[0, place].tolist() == [1, 2, 3, 4]
    assert level.deltas.count_nonzero() == 4
