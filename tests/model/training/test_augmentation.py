"""What images go through: every box still lies around the pixels of its object, whatever happens to the image."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from model.config.files import ConfigError, from_mapping
from model.config.resize import ResizeRule
from model.config.training import AugmentConfig, DataConfig
from model.training.augmentation import augmented
from model.training.epochs import batches_of_epochs, repeat_factors, repeated
from tests.model.small import run_config

RULE = ResizeRule(60, 200)
# Of an image of 120 x 180: x1 y1 x2 y2, each of a colour that no other pixel has.
BOXES = torch.tensor([[20.0, 10, 60, 50], [100, 40, 170, 110], [70, 80, 82, 92]])
COLOURS = ((250, 10, 10), (10, 250, 10), (10, 10, 250))
LABELS = torch.tensor([0, 1, 2])


def picture() -> Image.Image:
    pixels = np.full((120, 180, 3), 120, dtype=np.uint8)
    for (x1, y1, x2, y2), colour in zip(BOXES.int().tolist(), COLOURS, strict=True):
        pixels[y1:y2, x1:x2] = colour
    return Image.fromarray(pixels)


def once(seed: int, **changes: object) -> tuple[Tensor, Tensor, Tensor]:
    config = replace(AugmentConfig(), **changes)  # type: ignore[arg-type]
    return augmented(picture(), (BOXES, LABELS), RULE, config, seed)


def around(content: Tensor, label: int, box: Tensor) -> tuple[float, float]:
    """The share of the box's pixels that are of the label's colour, and how many of that colour it has."""
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    colour = torch.tensor(COLOURS[label])[:, None, None]
    near = (content.int() - colour).abs().amax(dim=0) < 100
    inside = near[y1:y2, x1:x2]
    return float(inside.float().mean()), float(inside.sum())


@pytest.mark.parametrize("scale", [(0.4, 0.4), (1.0, 1.0), (2.0, 2.0), (0.5, 1.8)])
def test_boxes_stay_around_their_objects_at_another_scale(scale: tuple[float, float]) -> None:
    counts = set()
    for seed in range(12):
        content, boxes, labels = once(seed, scale=scale)
        assert content.shape == (3, 60, 90)
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= torch.tensor([90, 60])).all()
        for box, label in zip(boxes, labels.tolist(), strict=True):
            assert around(content, label, box)[0] > 0.6
        counts.add(len(boxes))
    assert max(counts) == 3 if scale[0] <= 1 else min(counts) < 3  # some are cut away


def test_an_object_of_which_little_is_left_is_none() -> None:
    for seed in range(30):
        content, boxes, labels = once(seed, scale=(3.0, 3.0))
        for box, label in zip(boxes, labels.tolist(), strict=True):
            whole = float((BOXES[label, 2:] - BOXES[label, :2]).prod()) * (
                1.5**2
            )  # 60 of 120, times 3
            assert float((box[2:] - box[:2]).prod()) >= 0.2 * whole * 0.99
            assert around(content, label, box)[1] > 0


def test_colours_change_and_boxes_do_not() -> None:
    plain, boxes, labels = once(0)
    different = 0
    for seed in range(6):
        content, moved, same = once(seed, colour=1.0)
        assert torch.equal(moved, boxes)
        assert torch.equal(same, labels)
        different += not torch.equal(content, plain)
    assert different == 6


def test_small_objects_are_copied_to_where_nothing_is() -> None:
    counts = set()
    for seed in range(10):
        content, boxes, labels = once(seed, copies=2)
        counts.add(len(boxes))  # of the three two are small, and find a place or not
        assert torch.equal(boxes[:3], BOXES / 2)
        for box, label in zip(boxes, labels.tolist(), strict=True):
            assert around(content, label, box)[0] > 0.6
        for one in range(3, len(boxes)):
            for other in range(one):
                low = torch.maximum(boxes[one, :2], boxes[other, :2])
                high = torch.minimum(boxes[one, 2:], boxes[other, 2:])
                assert not (high > low + 1).all()
    assert 5 in counts <= {3, 4, 5}


def test_the_seed_decides_and_leaves_the_other_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    every = {"scale": (0.3, 2.0), "colour": 0.5, "copies": 1}
    one, other, third = (once(seed, **every) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0], third[0])


def test_rare_classes_are_seen_more_often() -> None:
    # class 1 is in one of eight images; at a threshold of a half it is drawn twice
    labels = [[0, 0]] * 7 + [[0, 1]]
    assert repeat_factors(labels, 0.5) == [1.0] * 7 + [2.0]
    assert repeat_factors([[]], 0.5) == [1.0]
    assert repeated(repeat_factors(labels, 0.5), seed=0, epoch=0) == [0, 1, 2, 3, 4, 5, 6, 7, 7]
    often = repeat_factors([[0]] * 7 + [[1]], 0.28)  # 1.5 times
    counts = {repeated(often, seed=0, epoch=epoch).count(7) for epoch in range(40)}
    assert counts == {1, 2}


def test_an_epoch_draws_what_is_repeated(photos: Path) -> None:
    config = run_config(photos, 2)
    sizes, repeats = [(64, 96)] * 5, [1.0, 1.0, 1.0, 1.0, 3.0]
    batches = islice(
        batches_of_epochs(sizes, config, repeats), 4
    )  # two epochs of 7 in batches of 4
    drawn = [draw.index for batch in batches for draw in batch]
    assert sorted(drawn) == sorted([0, 1, 2, 3, 4, 4, 4] * 2)


def test_given_proposals_and_a_moved_image_do_not_go_together() -> None:
    values = {
        "root": ".",
        "train_annotations": "a.json",
        "train_images": ".",
        "train_proposals": "p.npz",
    }
    with pytest.raises(ConfigError, match="which stay where they are"):
        from_mapping(DataConfig, values | {"augment": {"copies": 2}}, "test")
    with pytest.raises(ConfigError, match="from the smaller to the larger"):
        from_mapping(AugmentConfig, {"scale": [2.0, 0.1]}, "test")
