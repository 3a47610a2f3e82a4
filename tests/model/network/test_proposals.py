import torch

from model.network.proposals import stacked


def test_a_batch_of_given_boxes_is_padded_and_says_what_is_real() -> None:
    boxes = [torch.rand(3, 4), torch.rand(0, 4), torch.rand(2, 4)]
    proposals = stacked(boxes)
    assert proposals.boxes.shape == (3, 3, 4)
    assert proposals.valid.sum(dim=1).tolist() == [3, 0, 2]
    for row, each in enumerate(boxes):
        assert torch.equal(proposals.boxes[row][proposals.valid[row]], each)


def test_a_batch_without_any_given_box_has_one_that_is_not_real() -> None:
    proposals = stacked([torch.zeros(0, 4), torch.zeros(0, 4)])
    assert proposals.boxes.shape == (2, 1, 4)
    assert not proposals.valid.any()
