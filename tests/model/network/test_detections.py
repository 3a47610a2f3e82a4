import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from model.config.detector import RoiConfig
from model.network.boxes import clip_boxes, decode_boxes
from model.network.detections import FinalBoxes, best_detections, class_probs
from tests.model.small import random_boxes

SIZES = torch.tensor([[60, 90]])
CONFIG = RoiConfig(max_candidates=50, max_detections=6)


def detect(
    boxes: list[list[float]], probs: list[list[float]], config: RoiConfig = CONFIG
) -> FinalBoxes:
    """Detections of one image whose regressors leave every box as it is."""
    deltas = torch.zeros(1, len(boxes), len(probs[0]), 4)
    return best_detections(torch.tensor([boxes]), torch.tensor([probs]), deltas, SIZES, config)


def crowd(
    images: int, regions: int, classes: int, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Proposals, probabilities, deltas and sizes of crowded frames, each box wanted by classes."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.stack([random_boxes(regions, (320, 576), seed + n, 40) for n in range(images)])
    logits = 2 * torch.randn((images, regions, classes + 1), generator=generator)
    deltas = torch.randn((images, regions, classes, 4), generator=generator)
    sizes = torch.tensor([[320, 576], [300, 500], [250, 576]])[:images]
    probs = class_probs(logits, torch.ones((images, regions), dtype=torch.bool))
    return boxes, probs, deltas, sizes


def test_two_classes_in_one_place_both_survive() -> None:
    found = detect([[10.0, 10, 40, 50]], [[0.3, 0.6]])
    assert found.counts.tolist() == [2]
    assert found.labels[0, :2].tolist() == [1, 0]
    assert found.scores[0, :2].tolist() == pytest.approx([0.6, 0.3])
    assert found.boxes[0, :2].tolist() == [[10, 10, 40, 50]] * 2


def test_one_class_twice_in_one_place_is_one_detection() -> None:
    found = detect(
        [[10.0, 10, 40, 50], [11.0, 11, 41, 50], [60.0, 5, 80, 20]], [[0.6], [0.7], [0.5]]
    )
    assert found.counts.tolist() == [2]
    assert found.sources[0].tolist() == [1, 2, 0]
    assert found.scores[0].tolist() == pytest.approx([0.7, 0.5, 0])


def test_a_score_must_be_above_the_threshold() -> None:
    boxes = [[10.0, 10, 40, 50], [60.0, 5, 80, 20]]
    found = detect(boxes, [[0.25], [0.26]], RoiConfig(score_threshold=0.25))
    assert found.counts.tolist() == [1]
    assert found.sources[0, 0] == 1


def test_what_lies_past_the_counts_is_zero() -> None:
    found = detect([[10.0, 10, 40, 50], [60.0, 5, 80, 20]], [[0.01, 0.5], [0.02, 0.01]])
    assert found.counts.tolist() == [1]
    for each in found[:4]:
        assert not each[0, 1:].any()
    assert found.boxes.shape == (1, 4, 4)  # four pairs can be no more than four detections


def test_nothing_above_the_threshold_is_no_detection() -> None:
    found = detect([[10.0, 10, 40, 50]], [[0.01, 0.02]])
    assert found.counts.tolist() == [0]
    assert not any(each.any() for each in found)


def test_only_the_best_are_given() -> None:
    places = [[15.0 * n, 5.0, 15.0 * n + 10, 30.0] for n in range(5)]
    found = detect(places, [[0.1], [0.5], [0.3], [0.4], [0.2]], RoiConfig(max_detections=3))
    assert found.counts.tolist() == [3]
    assert found.sources[0].tolist() == [1, 3, 2]


def test_a_class_has_its_own_deltas_under_the_configured_weights() -> None:
    deltas = torch.zeros(1, 1, 2, 4)
    deltas[0, 0, 1] = torch.tensor(
        [5.0, 0, 5 * math.log(0.5), 0]
    )  # half a width right, half as wide
    proposal, probs = torch.tensor([[[20.0, 10, 40, 50]]]), torch.tensor([[[0.4, 0.6]]])
    found = best_detections(proposal, probs, deltas, SIZES, CONFIG)
    torch.testing.assert_close(found.boxes[0, 0], torch.tensor([35.0, 10, 45, 50]))
    assert found.boxes[0, 1].tolist() == [20, 10, 40, 50]


def test_detections_are_clipped_and_what_is_left_outside_is_dropped() -> None:
    found = detect([[70.0, 40, 200, 100], [95.0, 5, 120, 30]], [[0.9], [0.8]])
    assert found.counts.tolist() == [1]
    assert found.boxes[0, 0].tolist() == [70, 40, 90, 60]


def test_a_proposal_that_is_not_valid_is_never_detected() -> None:
    logits = torch.tensor([[[9.0, 0, 0], [0.0, 9, 0]]])
    probs = class_probs(logits, torch.tensor([[False, True]]))
    assert not probs[0, 0].any()
    boxes = torch.tensor([[[10.0, 10, 40, 50], [50.0, 10, 70, 50]]])
    config = RoiConfig(score_threshold=0.0)
    found = best_detections(boxes, probs, torch.zeros(1, 2, 2, 4), SIZES, config)
    assert set(found.sources[0, : int(found.counts[0])].tolist()) == {1}


def test_probabilities_are_a_softmax_without_its_last_column() -> None:
    logits = torch.tensor([[[1.0, 2, 3]]])
    probs = class_probs(logits, torch.tensor([[True]]))
    whole = sum(math.exp(each) for each in (1, 2, 3))
    assert probs[0, 0].tolist() == pytest.approx([math.exp(1) / whole, math.exp(2) / whole])


def reference(boxes: Tensor, probs: Tensor, deltas: Tensor, size: Tensor) -> list[list[float]]:
    """Rows of (label, score, box) of one image by torchvision's batched_nms, best first."""
    config, (regions, classes) = CONFIG, probs.shape
    expanded = boxes[:, None].expand(regions, classes, 4)
    decoded = decode_boxes(expanded, deltas, config.box_weights).reshape(1, -1, 4)
    flat, scores = clip_boxes(decoded, size[None])[0], probs.flatten()
    labels = torch.arange(classes).repeat(regions)
    best = scores.topk(config.max_candidates).indices
    best = best[(scores[best] > 0.05) & ((flat[best, 2:] - flat[best, :2]) >= 1e-2).all(dim=1)]
    kept = best[batched_nms(flat[best], scores[best], labels[best], 0.5)][: config.max_detections]
    rows = torch.cat([labels[kept, None], scores[kept, None], flat[kept]], dim=1)
    return [[float(value) for value in row] for row in rows]


@pytest.mark.parametrize("classes", [1, 2, 7, 20, 80])
def test_crowded_frames_give_what_torchvision_gives_class_by_class(classes: int) -> None:
    boxes, probs, deltas, sizes = crowd(3, 60, classes, seed=classes)
    found = best_detections(boxes, probs, deltas, sizes, CONFIG)
    for n in range(3):
        expected = reference(boxes[n], probs[n], deltas[n], sizes[n])
        count = int(found.counts[n])
        got = torch.cat([found.labels[n, :, None], found.scores[n, :, None], found.boxes[n]], dim=1)
        assert count == len(expected) > 1
        torch.testing.assert_close(got[:count], torch.tensor(expected))


def test_detections_stand_best_first() -> None:
    found = best_detections(*crowd(3, 60, 4), CONFIG)
    assert (found.scores.diff(dim=1) <= 0).all()


def test_a_batch_is_its_images_one_by_one() -> None:
    batch = crowd(3, 60, 4)
    together = best_detections(*batch, CONFIG)
    for n in range(3):
        boxes, probs, deltas, sizes = (each[n : n + 1] for each in batch)
        alone = best_detections(boxes, probs, deltas, sizes, CONFIG)
        assert all(torch.equal(one[0], many[n]) for one, many in zip(alone, together, strict=True))
