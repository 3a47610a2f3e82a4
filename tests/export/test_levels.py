"""Detectors of other levels, norms and heads than the paper's, exported: every runtime answers as torch does."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from export.artifact import finish_artifact
from export.graph import LARGEST, OUTPUTS, feed, trace
from export.manifest import Provenance
from export.precision.ranges import quiet_session
from model.config.detector import DetectorConfig
from model.config.files import from_mapping
from model.network.detector import Detector
from tests.detectors import CLASS_NAMES, FRAMES, noise, spread
from tests.quiet_openvino import openvino
from tests.references import Found, matched

SMALL: dict[str, Any] = {
    "resize": {"short_side": 64, "max_side": 96, "buckets": FRAMES},
    "backbone": {"name": "resnet18", "weights": "none"},
    "pyramid": {"channels": 8},
    "rpn": {"pre_nms_test": 40, "post_nms_test": 60},
    "roi": {"fc_channels": 16, "max_candidates": 100, "max_detections": 30},
}
# What is other than in SMALL -> the levels' names.
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "three stages, two convolutions above, norms, deeper heads": (
        {
            "pyramid": {
                "strides": [8, 16, 32],
                "top": "convolution",
                "top_levels": 2,
                "norm": "batch",
            },
            "anchors": {"sizes": [8, 16, 32, 64, 128]},
            "rpn": {"conv_depth": 2, "score_threshold": 0.05},
            "roi": {"conv_channels": [8, 8], "norm": "group", "fc_layers": 1},
        },
        ["P3", "P4", "P5", "P6", "P7"],
    ),
    "C4, whose second stage is the backbone's last": (
        {
            "pyramid": {"kind": "c4", "channels": 16},
            "anchors": {"sizes": [8, 16, 32, 64]},
            "rpn": {"pre_nms_test": 200, "post_nms_test": 60},
            "roi": {"head": "conv5", "resolution": 14, "sampling_ratio": 0},
        },
        ["P4"],
    ),
    "DC5, dilated": (
        {
            "backbone": {"name": "resnet50", "weights": "none", "dilated": True},
            "pyramid": {"kind": "c5", "channels": 16},
            "anchors": {"sizes": [8, 16, 32, 64]},
            "rpn": {"pre_nms_test": 200, "post_nms_test": 60},
            "roi": {"sampling_ratio": 0},
        },
        ["P4"],
    ),
    "MobileNetV3, two maps of one stride, all anchors on each": (
        {
            "backbone": {
                "name": "torchvision:mobilenet_v3_large",
                "weights": "none",
                "taps": ["features.13", "features.16"],
            },
            "pyramid": {"strides": [32, 32]},
            "anchors": {
                "sizes": [8, 16, 32, 64],
                "shared": True,
                "rounded": True,
                "stride": "frame",
            },
            "rpn": {"score_threshold": 0.05},
            "roi": {"aligned": False},
        },
        ["P5", "P5b", "P6"],
    ),
}


@cache
def exported(case: str) -> tuple[Detector, onnx.ModelProto]:
    changes, _ = CASES[case]
    values = {part: SMALL.get(part, {}) | changes.get(part, {}) for part in SMALL | changes}
    torch.manual_seed(0)
    detector = Detector(from_mapping(DetectorConfig, values, case), CLASS_NAMES).eval()
    with torch.no_grad():
        spread(detector)
    return detector, trace(detector)


@pytest.mark.parametrize("case", CASES)
def test_the_artifact_passes_the_gate_and_names_its_levels(case: str, tmp_path: Path) -> None:
    detector, graph = exported(case)
    outcome = finish_artifact(graph, detector, tmp_path / "m.onnx", Provenance(name="levels"))
    assert outcome.reports["float32"].kinds["detections"].count > 50
    assert list(detector.level_names) == CASES[case][1]
    assert outcome.reports["float32"].kinds["proposals"].count > 100


@pytest.mark.parametrize("case", CASES)
def test_an_image_is_answered_alike_alone_and_among_others(case: str) -> None:
    _, graph = exported(case)
    session, images = quiet_session(graph), noise(3, (64, 96))
    sizes = torch.tensor([[64, 96], [50, 90], [64, 40]])
    together = session.run(OUTPUTS, feed(images, sizes))
    for index in range(3):
        alone = session.run(OUTPUTS, feed(images[index : index + 1], sizes[index : index + 1]))
        for name, one, all_ in zip(OUTPUTS, alone, together, strict=True):
            np.testing.assert_allclose(one[0], all_[index], atol=2e-4, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_openvino_answers_alike_and_no_constant_needs_64_bits(case: str, tmp_path: Path) -> None:
    _, graph = exported(case)
    constants = [numpy_helper.to_array(tensor) for tensor in graph.graph.initializer]
    assert all(
        values.max() <= LARGEST for values in constants if values.dtype == np.int64 and values.size
    )
    onnx.save(graph, tmp_path / "m.onnx")
    fed = feed(noise(2, (64, 96)), torch.tensor([[64, 96], [50, 90]]))
    exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    model = openvino.Core().compile_model(tmp_path / "m.onnx", "CPU", exact)
    got = model.create_infer_request().infer(fed)
    expected = quiet_session(graph).run(OUTPUTS, fed)
    assert expected[OUTPUTS.index("counts")].sum() > 0
    # as sets: nearly equal scores may change places
    for one, other in zip(found(list(got.values())), found(expected), strict=True):
        assert len(other.boxes) > 5
        assert matched(one, other, 2e-3) >= 0.95


def found(outputs: list[NDArray[Any]]) -> list[Found]:
    """The detections of each image."""
    boxes, scores, labels, _, counts, *_ = (torch.from_numpy(np.array(each)) for each in outputs)
    reals = [slice(int(count)) for count in counts]
    return [Found(boxes[n, r], scores[n, r], labels[n, r]) for n, r in enumerate(reals)]
