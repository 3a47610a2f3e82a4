import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from export.graph import missing_weights
from export.made_pictures import made_batch
from export.parity import ParityError, Reference, compare, reference, require
from model.network.detector import Detector
from model.network.fpn import FeaturePyramid
from tests.detectors import noise, with_config


@pytest.fixture(scope="module")
def traced(graph: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traced") / "traced.onnx"
    onnx.save(graph, path)
    return path


@pytest.fixture(scope="module")
def expected(detector: Detector) -> Reference:
    return reference(detector)


def expected_of(changed: Detector, expected: Reference) -> Reference:
    """The gate for `changed`, whose float32 is as noisy as that of the detector that it was made from."""
    with torch.inference_mode():
        return replace(expected, answers=[changed.detect(*batch) for batch in expected.asked])


def test_a_faithful_graph_passes_and_the_report_says_what_was_compared(
    expected: Reference, traced: Path
) -> None:
    report = compare(expected, traced)
    require(report, expected.float32)
    values = report.values()
    assert values["images"] == 1 + 2 + 3 + 8
    assert values["detections"] > 100
    assert values["proposals"] > 300
    assert values["matched_detections"] >= 0.99
    assert 0 < values["mean_score_difference"] < 5 * values["mean_score_noise"] < 1e-5


# Of what an export may get wrong, and of a tenth of it: 1 and 0.1.
STRENGTHS = (1.0, 0.1)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize(
    "name",
    [
        "backbone.stages.1.0.conv1.weight",
        "fpn.laterals.2.bias",
        "rpn.conv.weight",
        "roi.fc2.weight",
        "roi.logits.bias",
        "roi.deltas.weight",
    ],
)
def test_one_weight_changed_after_tracing_fails_the_comparison(
    detector: Detector, expected: Reference, traced: Path, name: str, strength: float
) -> None:
    changed = copy.deepcopy(detector)
    place = middling_weight(changed, name)
    with torch.no_grad():
        changed.get_parameter(name).view(-1)[place] += 0.05 * strength
    refused(expected_of(changed, expected), traced)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("rule", ["nms_iou", "box_weights", "mean", "max_detections"])
def test_a_rule_changed_after_tracing_fails_the_comparison(
    detector: Detector, expected: Reference, traced: Path, rule: str, strength: float
) -> None:
    config = detector.config
    roi, pixels = config.roi, config.pixels
    assert pixels.mean is not None
    red, green, blue = pixels.mean
    changed = {
        "nms_iou": replace(config, roi=replace(roi, nms_iou=0.5 + 0.2 * strength)),
        "box_weights": replace(
            config, roi=replace(roi, box_weights=(10 + strength, 10.0, 5.0, 5.0))
        ),
        "mean": replace(config, pixels=replace(pixels, mean=(red + 0.05 * strength, green, blue))),
        "max_detections": replace(config, roi=replace(roi, max_detections=30 - int(10 * strength))),
    }[rule]
    refused(expected_of(with_config(detector, changed), expected), traced)


class Partly(nn.Module):
    """A layer that the graph leaves out, or of which it has only a part."""

    def __init__(self, layer: nn.Module, left_out: float) -> None:
        super().__init__()
        self.layer = layer
        self.left_out = left_out

    def forward(self, features: Tensor) -> Tensor:
        there: Tensor = self.layer(features)
        return there + self.left_out * (features - there)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_layer_left_out_fails_the_comparison(
    detector: Detector, expected: Reference, traced: Path, strength: float
) -> None:
    changed = copy.deepcopy(detector)
    assert isinstance(changed.fpn, FeaturePyramid)
    changed.fpn.outputs[1] = Partly(changed.fpn.outputs[1], strength)
    refused(expected_of(changed, expected), traced)


def refused(expected: Reference, path: Path) -> None:
    with pytest.raises(ParityError, match="does not answer as torch does"):
        require(compare(expected, path), expected.float32)


def middling_weight(detector: Detector, name: str) -> int:
    """Of a tensor's weights that have any influence on the answers, the one with the median influence."""
    found = detector.requires_grad_(True).detect(noise(1, (64, 96)), torch.tensor([[64, 96]]))
    answers = found.scores.sum() + found.boxes.sum() / 64 + found.proposal_scores.sum()
    (influence,) = torch.autograd.grad(answers, detector.get_parameter(name))
    influence = influence.abs().flatten()
    return int((influence - influence[influence > 0].median()).abs().argmin())


def test_a_weight_that_no_picture_reaches_is_compared_as_well(
    detector: Detector, graph: onnx.ModelProto
) -> None:
    assert missing_weights(detector, graph) == []
    changed = copy.deepcopy(detector)
    with torch.no_grad():
        changed.roi.deltas.weight[5, 3] += 1e-6
        changed.backbone.get_parameter("stages.2.0.conv1.weight")[1, 1] += 1e-3
    assert missing_weights(changed, graph) == [
        "backbone.stages.2.0.conv1.weight",
        "roi.deltas.weight",
    ]


def test_a_swapped_width_and_height_fails_the_comparison(
    expected: Reference, graph: onnx.ModelProto, tmp_path: Path
) -> None:
    swapped = onnx.ModelProto()
    swapped.CopyFrom(graph)
    swapped.graph.node.insert(
        0,
        onnx.helper.make_node("Gather", ["sizes", "swap"], ["swapped_sizes"], axis=1),
    )
    order = onnx.numpy_helper.from_array(np.array([1, 0]), "swap")
    swapped.graph.initializer.append(order)
    for node in list(swapped.graph.node)[1:]:
        node.input[:] = ["swapped_sizes" if name == "sizes" else name for name in node.input]
    path = tmp_path / "swapped.onnx"
    onnx.save(swapped, path)
    refused(expected, path)


def test_a_comparison_without_a_single_detection_is_not_called_one(
    expected: Reference, traced: Path
) -> None:
    report = compare(expected, traced)
    none = replace(report.kinds["detections"], count=0)
    with pytest.raises(ParityError, match="--images DIR"):
        require(replace(report, kinds={**report.kinds, "detections": none}), expected.float32)


def test_photographs_given_are_compared_too(detector: Detector, tmp_path: Path) -> None:
    photograph = tmp_path / "photograph.png"
    Image.fromarray(noise(1, (120, 200))[0].permute(1, 2, 0).numpy()).save(photograph)
    assert sum(len(asked.sizes) for asked in reference(detector, [photograph]).asked) == 15


def test_the_empty_picture_is_not_of_one_colour_and_no_content_lies_outside_its_size() -> None:
    """Where all places are alike rounding alone would decide what suppresses what."""
    images, sizes = made_batch(3, (64, 96), np.random.default_rng(0))
    for image, (height, width) in zip(images, sizes.tolist(), strict=True):
        inside = image[:, :height, :width].flatten(1)
        assert all(len(channel.unique()) > 8 for channel in inside)
        assert int(image.sum()) == int(inside.sum())
