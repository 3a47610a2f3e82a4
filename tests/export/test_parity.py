import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from export.graph import missing_weights
from export.made_pictures import made_batch
from export.parity import ParityError, compare, require
from model.network.detector import Detector
from tests.detectors import noise


@pytest.fixture
def traced(graph: onnx.ModelProto, tmp_path: Path) -> Path:
    path = tmp_path / "traced.onnx"
    onnx.save(graph, path)
    return path


def test_a_faithful_graph_passes_and_the_report_says_what_was_compared(
    detector: Detector, traced: Path
) -> None:
    report = compare(detector, traced)
    require(report)
    assert report.images == 1 + 2 + 3 + 8
    assert report.detections > 100
    assert report.proposals > 300
    assert report.matched_detections >= 0.99
    assert report.mean_score_difference < 1e-5


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
    detector: Detector, traced: Path, name: str
) -> None:
    changed = copy.deepcopy(detector)
    place = middling_weight(changed, name)
    with torch.no_grad():
        changed.get_parameter(name).view(-1)[place] += 0.05
    with pytest.raises(ParityError, match="does not answer as torch does"):
        require(compare(changed, traced))


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
    detector: Detector, graph: onnx.ModelProto, tmp_path: Path
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
    with pytest.raises(ParityError):
        require(compare(detector, path))


def test_a_comparison_without_a_single_detection_is_not_called_one(
    detector: Detector, traced: Path
) -> None:
    nothing_found = replace(compare(detector, traced), detections=0)
    with pytest.raises(ParityError, match="--images DIR"):
        require(nothing_found)


def test_photographs_given_are_compared_too(
    detector: Detector, traced: Path, tmp_path: Path
) -> None:
    photograph = tmp_path / "photograph.png"
    Image.fromarray(noise(1, (120, 200))[0].permute(1, 2, 0).numpy()).save(photograph)
    assert compare(detector, traced, [photograph]).images == 15


def test_the_empty_picture_is_not_of_one_colour_and_no_content_lies_outside_its_size() -> None:
    """Where all places are alike rounding alone would decide what suppresses what."""
    images, sizes = made_batch(3, (64, 96), np.random.default_rng(0))
    for image, (height, width) in zip(images, sizes.tolist(), strict=True):
        inside = image[:, :height, :width].flatten(1)
        assert all(len(channel.unique()) > 8 for channel in inside)
        assert int(image.sum()) == int(inside.sum())
