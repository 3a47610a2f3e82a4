import torch
from torch import Tensor

from model.config.detector import RoiConfig
from model.evaluation.evaluation import evaluate, evaluate_at_scales
from model.evaluation.feeding import Loading
from model.evaluation.results import PhotoDetections
from model.evaluation.scales import merge
from tests.model.colours import ColourDetector
from tests.model.conftest import CocoFolder
from tests.model.small import random_boxes

LOADING = Loading(batch_size=2)


def detections(count: int, seed: int) -> PhotoDetections:
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(count, (60, 90), seed, least=20)
    scores = torch.rand(count, generator=generator).sort(descending=True).values
    return PhotoDetections(boxes, scores, torch.randint(0, 3, (count,), generator=generator))


def overlap(a: Tensor, b: Tensor) -> float:
    corner, far_corner = torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])
    inside = (far_corner - corner).clamp(min=0).prod()
    areas = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()
    return float(inside / (areas - inside))


def test_merging_keeps_the_best_of_what_overlaps_in_its_class() -> None:
    parts = [detections(30, seed) for seed in (1, 2)]
    boxes, scores, labels = (torch.cat(values) for values in zip(*parts, strict=True))
    expected: list[int] = []
    for candidate in scores.argsort(descending=True).tolist():
        rivals = [k for k in expected if labels[k] == labels[candidate]]
        if all(overlap(boxes[k], boxes[candidate]) <= 0.5 for k in rivals):
            expected.append(candidate)
    merged = merge(parts, RoiConfig(nms_iou=0.5, max_detections=100))
    assert 10 < len(expected) < 50
    assert torch.equal(merged.scores, scores[expected])
    assert torch.equal(merged.boxes, boxes[expected])
    assert torch.equal(merged.labels, labels[expected])
    few = merge(parts, RoiConfig(nms_iou=0.5, max_detections=7))
    assert torch.equal(few.scores, merged.scores[:7])


def test_merging_nothing_gives_nothing() -> None:
    empty = PhotoDetections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    merged = merge([empty, empty], RoiConfig())
    assert [tuple(values.shape) for values in merged] == [(0, 4), (0,), (0,)]


def test_images_are_seen_at_every_scale_and_found_in_the_photograph(coloured: CocoFolder) -> None:
    detector = ColourDetector()
    found = evaluate_at_scales(detector, coloured.read(), (64, 192), LOADING)
    assert {min(frame) for frame, _ in detector.batches} == {64, 128, 192}
    assert list(found.scales) == ["64", "128", "192", "64 + 192"]
    assert found.metrics == found.scales["64 + 192"].metrics
    assert found.metrics.AP50 > 0.99
    # The same objects were found twice, and suppressed: no false positives follow the right ones.
    assert found.metrics.AR1 == found.metrics.AR100


def test_each_scale_has_the_figures_that_it_has_alone(coloured: CocoFolder) -> None:
    dataset = coloured.read()
    found = evaluate_at_scales(ColourDetector(), dataset, (64, 128), LOADING)
    alone = evaluate(ColourDetector(), dataset, LOADING)
    assert found.scales["128"].metrics.scalars() == alone.metrics.scalars()


def test_the_cost_is_the_sum_of_the_scales_against_the_own_scale(coloured: CocoFolder) -> None:
    scales = evaluate_at_scales(ColourDetector(), coloured.read(), (64, 192), LOADING).scales
    assert scales["128"].cost == 1
    parts = scales["64"].seconds + scales["192"].seconds
    assert scales["64 + 192"].seconds >= parts > 0
    assert scales["64 + 192"].cost > scales["64"].cost
    assert scales["64 + 192"].row()["cost"] == f"{scales['64 + 192'].cost:.2f}"
