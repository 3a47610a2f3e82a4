from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from model.config.detector import DetectorConfig, PixelConfig
from model.config.files import from_mapping
from model.network.boxes import box_iou
from model.network.detector import Detections, Detector
from model.network.pooling import assign_levels
from tests.detectors import CLASS_NAMES, noise, small_detector, with_config
from tests.model.small import STRIDES

FRAME = (64, 96)
SIZES = torch.tensor([[64, 96], [50, 96], [64, 40]])
D, L, K = 30, 5, 40  # of `small_detector`


def sparing_detector(seed: int = 0) -> Detector:
    """Finds less than it may, on several levels: 24 px takes the place of 224 in so small a frame."""
    detector = small_detector(seed)
    roi = replace(detector.config.roi, score_threshold=0.7, canonical_size=24.0)
    return with_config(detector, replace(detector.config, roi=roi))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return sparing_detector()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return noise(3, FRAME)


@pytest.fixture(scope="module")
def found(detector: Detector, images: Tensor) -> Detections:
    with torch.inference_mode():
        return detector.detect(images, SIZES)


def assert_same(ours: Detections, theirs: Detections) -> None:
    """Equal but for the last digits, which the batch size changes in convolutions."""
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=1e-4)


def test_a_detectors_configuration_cannot_be_changed(detector: Detector) -> None:
    with pytest.raises(AttributeError, match="config"):
        detector.config = DetectorConfig()  # type: ignore[misc]


def test_outputs_have_the_shapes_and_types_of_the_artifact(found: Detections) -> None:
    expected = {
        "boxes": ((3, D, 4), torch.float32),
        "scores": ((3, D), torch.float32),
        "labels": ((3, D), torch.int64),
        "levels": ((3, D), torch.int64),
        "counts": ((3,), torch.int64),
        "proposals": ((3, D, 2), torch.int64),
        "proposal_boxes": ((3, L, K, 4), torch.float32),
        "proposal_scores": ((3, L, K), torch.float32),
        "proposal_counts": ((3, L), torch.int64),
        "region_boxes": ((3, 0, 4), torch.float32),
        "region_scores": ((3, 0), torch.float32),
        "region_labels": ((3, 0), torch.int64),
        "region_levels": ((3, 0), torch.int64),
    }
    got = {name: (tuple(each.shape), each.dtype) for name, each in found._asdict().items()}
    assert got == expected
    assert list(got) == list(expected)


def test_counts_say_what_is_real_and_the_rest_is_zero(found: Detections) -> None:
    assert (found.counts > 0).all()
    assert (found.counts < D).any()
    assert (found.proposal_counts.sum(dim=1) > 0).all()
    for n in range(3):
        count = int(found.counts[n])
        assert (found.scores[n, :count] > 0.7).all()
        assert (found.levels[n, :count] >= 2).all()
        assert not any(each[n, count:].any() for each in found[:4])
        for level in range(L):
            proposals = int(found.proposal_counts[n, level])
            assert (found.proposal_scores[n, level, :proposals] > 0).all()
            assert not found.proposal_scores[n, level, proposals:].any()
            assert not found.proposal_boxes[n, level, proposals:].any()


def test_behind_a_detection_stands_a_proposal_that_is_real_and_overlaps_it(
    found: Detections,
) -> None:
    for n in range(3):
        for place in range(int(found.counts[n])):
            level, index = found.proposals[n, place]
            assert index < found.proposal_counts[n, level]
            proposal = found.proposal_boxes[n, level, index]
            assert box_iou(proposal[None], found.boxes[n, place, None]) > 0.1


def test_the_best_come_first(found: Detections) -> None:
    assert (found.scores.diff(dim=-1) <= 0).all()
    assert (found.proposal_scores.diff(dim=-1) <= 0).all()


def test_boxes_lie_within_the_content(found: Detections) -> None:
    for n, (height, width) in enumerate(SIZES.tolist()):
        for boxes in (found.boxes[n], found.proposal_boxes[n].flatten(0, 1)):
            assert boxes.min() >= 0
            assert boxes[:, 2].max() <= width
            assert boxes[:, 3].max() <= height


def test_no_more_proposals_feed_the_head_than_configured(found: Detections) -> None:
    assert (found.proposal_counts.sum(dim=1) <= 60).all()


def test_a_level_is_that_of_a_proposal_by_equation_1(detector: Detector, found: Detections) -> None:
    for n in range(3):
        proposals = found.proposal_boxes[n].flatten(0, 1)
        possible = set(assign_levels(proposals, detector.config.roi).tolist())
        assert set(found.levels[n, : int(found.counts[n])].tolist()) <= possible


def test_an_unmoved_detection_was_pooled_from_the_level_of_its_own_box(images: Tensor) -> None:
    detector = sparing_detector(seed=1)
    with torch.inference_mode():
        torch.nn.init.zeros_(detector.roi.deltas.weight)
        found = detector.detect(images, SIZES)
    for n in range(3):
        count = int(found.counts[n])
        expected = assign_levels(found.boxes[n, :count], detector.config.roi)
        assert torch.equal(found.levels[n, :count], expected)
    assert len(set(found.levels[found.levels > 0].tolist())) > 1


def test_a_batch_is_its_images_one_by_one(
    detector: Detector, images: Tensor, found: Detections
) -> None:
    with torch.inference_mode():
        for n in range(3):
            alone = detector.detect(images[n : n + 1], SIZES[n : n + 1])
            assert_same(alone, Detections(*(each[n : n + 1] for each in found)))


def test_a_permuted_batch_gives_permuted_detections(
    detector: Detector, images: Tensor, found: Detections
) -> None:
    order = torch.tensor([2, 0, 1])
    with torch.inference_mode():
        permuted = detector.detect(images[order], SIZES[order])
    assert_same(permuted, Detections(*(each[order] for each in found)))


def test_what_lies_outside_the_content_changes_nothing(
    detector: Detector, images: Tensor, found: Detections
) -> None:
    littered = images.clone()
    for image, (height, width) in zip(littered, SIZES.tolist(), strict=True):
        image[:, height:] = 255
        image[:, :, width:] = 77
    assert not torch.equal(littered, images)
    with torch.inference_mode():
        again = detector.detect(littered, SIZES)
    assert all(torch.equal(one, other) for one, other in zip(again, found, strict=True))


def test_the_mode_of_the_module_changes_nothing(images: Tensor, found: Detections) -> None:
    detector = sparing_detector().train()
    with torch.inference_mode():
        again = detector.detect(images, SIZES)
    assert all(torch.equal(one, other) for one, other in zip(again, found, strict=True))


def test_an_even_picture_is_no_trouble(detector: Detector) -> None:
    blank = torch.zeros((1, 3, *FRAME), dtype=torch.uint8)
    with torch.inference_mode():
        found = detector.detect(blank, torch.tensor([[1, 1]]))
    assert all(torch.isfinite(each.float()).all() for each in found)


def test_pixels_are_normalised_and_zero_outside_the_content(detector: Detector) -> None:
    images = torch.full((2, 3, 32, 64), 51, dtype=torch.uint8)
    got = detector.normalise(images, torch.tensor([[20, 30], [32, 64]]))
    pixels = detector.config.pixels
    expected = (0.2 - torch.tensor(pixels.mean)) / torch.tensor(pixels.std)
    torch.testing.assert_close(got[0, :, 19, 29], expected)
    torch.testing.assert_close(got[1, :, 31, 63], expected)
    assert not got[0, :, 20:].any()
    assert not got[0, :, :, 30:].any()


def test_blue_comes_first_where_the_configuration_says_so(detector: Detector) -> None:
    pixels = PixelConfig("bgr", 1.0, (103.0, 116.0, 123.0), (1.0, 2.0, 4.0))
    other = Detector(replace(detector.config, pixels=pixels), CLASS_NAMES)
    rgb = torch.tensor([10, 20, 30], dtype=torch.uint8)[None, :, None, None]
    got = other.normalise(rgb.expand(1, 3, 32, 32), torch.tensor([[32, 32]]))
    assert got[0, :, 5, 7].tolist() == [30 - 103, (20 - 116) / 2, (10 - 123) / 4]


@pytest.mark.parametrize(
    ("frame", "last_row", "last_column"),
    [((800, 1088), 12 * 61, 16 * 64), ((1088, 800), 16 * 64, 12 * 61)],
)
def test_anchors_may_stand_apart_as_the_frame_divides(
    detector: Detector, frame: tuple[int, int], last_row: int, last_column: int
) -> None:
    anchors = replace(detector.config.anchors, stride="frame")
    other = Detector(replace(detector.config, anchors=anchors), CLASS_NAMES)
    pyramid = tuple(torch.zeros(1, 8, -(-frame[0] // s), -(-frame[1] // s)) for s in STRIDES)
    *fine, coarsest = (grid.all() for grid in other.anchors(pyramid))
    assert all(
        torch.equal(one, grid.all())
        for one, grid in zip(fine, detector.anchors(pyramid), strict=False)
    )
    centre = (coarsest[-1, :2] + coarsest[-1, 2:]) / 2
    assert centre.tolist() == pytest.approx([last_column, last_row], abs=1e-4)


def test_every_level_has_as_many_anchors_as_predictions(detector: Detector) -> None:
    with torch.inference_mode():
        pyramid, predictions = detector(torch.zeros(2, 3, 96, 160))
    anchors = [grid.all() for grid in detector.anchors(pyramid)]
    assert [len(each) for each in anchors] == [level.logits.shape[1] for level in predictions]
    for each, stride, size in zip(anchors, STRIDES, (8, 16, 32, 64, 128), strict=True):
        centre = (each[:, :2] + each[:, 2:]) / 2
        assert centre.amax(dim=0).tolist() == pytest.approx(
            [stride * (-(-160 // stride) - 1), stride * (-(-96 // stride) - 1)], abs=1e-4
        )
        sides = each[:, 2:] - each[:, :2]
        assert sides.prod(dim=1).sqrt().tolist() == pytest.approx([size] * len(each), rel=1e-5)


def test_a_checkpoint_holds_weights_and_no_constants(detector: Detector) -> None:
    names = set(detector.state_dict())
    assert not any(name.startswith(("mean", "std", "cell_anchors")) for name in names)
    assert len(CLASS_NAMES) + 1 == detector.state_dict()["roi.logits.weight"].shape[0]


VARIANTS: tuple[dict[str, Any], ...] = (
    {"pyramid": {"kind": "bottom_up"}},
    {"pyramid": {"kind": "no_lateral"}},
    {"pyramid": {"kind": "finest"}},
    {"pyramid": {"kind": "c5"}},
    {"pyramid": {"kind": "c4"}, "roi": {"head": "conv5", "resolution": 14}},
)


@pytest.fixture(params=VARIANTS, ids=lambda variant: str(variant["pyramid"]["kind"]))
def variant(request: pytest.FixtureRequest) -> Detector:
    values = {"backbone": {"name": "resnet18", "weights": "none"}} | request.param
    values["rpn"] = {"pre_nms_test": 40, "post_nms_test": 60}
    torch.manual_seed(0)
    return Detector(from_mapping(DetectorConfig, values, "variant"), CLASS_NAMES).eval()


def test_every_variant_detects_from_its_own_levels(variant: Detector, images: Tensor) -> None:
    roi = replace(variant.config.roi, score_threshold=0.0, max_detections=9)
    variant = with_config(variant, replace(variant.config, roi=roi))
    with torch.inference_mode():
        found = variant.detect(images, SIZES)
    assert found.proposal_boxes.shape == (3, len(variant.fpn.levels), 40, 4)
    assert (found.counts > 0).all()
    for levels, count in zip(found.levels, found.counts, strict=True):
        assert set(levels[:count].tolist()) <= set(variant.pooled_levels)


def test_detections_among_the_detectors_own_proposals_are_its_own(
    variant: Detector, images: Tensor
) -> None:
    with torch.inference_mode():
        found = variant.detect(images, SIZES)
        proposals = variant.propose(images, SIZES)
        assert torch.equal(proposals.boxes, found.proposal_boxes)
        boxes, valid = proposals.boxes.flatten(1, 2), proposals.valid.flatten(1)
        among = variant.detect_among(images, SIZES, boxes, valid)
    assert torch.equal(among.counts, found.counts)
    torch.testing.assert_close(among.scores, found.scores)


def test_regions_of_ones_own_change_no_detection(
    detector: Detector, images: Tensor, found: Detections
) -> None:
    regions = torch.tensor([[4.0, 4, 40, 30], [0, 0, 64, 50], [10, 20, 12, 44]]).repeat(3, 1, 1)
    with torch.inference_mode():
        beside = detector.detect(images, SIZES, regions)
    for name in ("boxes", "scores", "labels", "levels", "counts", "proposals", "proposal_boxes"):
        torch.testing.assert_close(
            getattr(beside, name), getattr(found, name), atol=2e-3, rtol=1e-4
        )
    assert (beside.region_scores > 0).all()


def test_a_region_where_a_detections_proposal_stands_is_refined_to_that_detection(
    detector: Detector, images: Tensor, found: Detections
) -> None:
    level, index = found.proposals[:, 0].unbind(-1)
    n = torch.arange(3)
    regions = found.proposal_boxes[n, level, index][:, None]
    with torch.inference_mode():
        beside = detector.detect(images, SIZES, regions)
    # its best class, as the first detection is the best of all
    assert torch.equal(beside.region_labels[:, 0], found.labels[:, 0])
    torch.testing.assert_close(beside.region_boxes[:, 0], found.boxes[:, 0], atol=2e-3, rtol=1e-4)
    torch.testing.assert_close(beside.region_scores[:, 0], found.scores[:, 0], atol=1e-4, rtol=0)
    assert torch.equal(beside.region_levels[:, 0], found.levels[:, 0])


def test_a_region_without_area_is_none(detector: Detector, images: Tensor) -> None:
    regions = torch.tensor([[0.0, 0, 0, 0], [5, 5, 30, 30], [9, 9, 9, 40]]).repeat(3, 1, 1)
    with torch.inference_mode():
        got = detector.detect(images, SIZES, regions)
    assert (got.region_scores > 0).tolist() == [[False, True, False]] * 3
    for values in (got.region_boxes, got.region_labels, got.region_levels):
        assert not values[:, [0, 2]].any()
