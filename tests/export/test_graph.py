"""What the graph promises of itself; what it answers is compared in test_parity and test_artifact."""

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from export.graph import OPSET
from export.runtime import onnxruntime
from model.network.anchors import AnchorGrid, anchors_at, cell_anchors


def shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_inputs_and_outputs_are_the_contracts_with_any_batch_height_and_width(
    graph: onnx.ModelProto,
) -> None:
    elements = {
        value.name: (value.type.tensor_type.elem_type, shape(value))
        for value in [*graph.graph.input, *graph.graph.output]
    }
    uint8, int64, float32 = (
        onnx.TensorProto.UINT8,
        onnx.TensorProto.INT64,
        onnx.TensorProto.FLOAT,
    )
    height, width = elements["images"][1][2:]
    assert isinstance(height, str)
    assert isinstance(width, str)
    assert height != width
    assert elements == {
        "images": (uint8, ["N", 3, height, width]),
        "sizes": (int64, ["N", 2]),
        "regions": (float32, ["N", "E", 4]),
        "boxes": (float32, ["N", 30, 4]),
        "scores": (float32, ["N", 30]),
        "labels": (int64, ["N", 30]),
        "levels": (int64, ["N", 30]),
        "counts": (int64, ["N"]),
        "proposals": (int64, ["N", 30, 2]),
        "proposal_boxes": (float32, ["N", 5, 40, 4]),
        "proposal_scores": (float32, ["N", 5, 40]),
        "proposal_counts": (int64, ["N", 5]),
        "region_boxes": (float32, ["N", "E", 4]),
        "region_scores": (float32, ["N", "E"]),
        "region_labels": (int64, ["N", "E"]),
        "region_levels": (int64, ["N", "E"]),
    }


def test_only_standard_operators_of_the_stated_opset_are_used(graph: onnx.ModelProto) -> None:
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]
    assert not graph.functions
    assert {node.domain for node in graph.graph.node} <= {"", "ai.onnx"}


def test_norms_are_folded_and_each_suppression_is_one_node(graph: onnx.ModelProto) -> None:
    counts = Counter(node.op_type for node in graph.graph.node)
    assert "BatchNormalization" not in counts
    assert counts["NonMaxSuppression"] == 2
    assert counts["RoiAlign"] == 4
    weights = {tensor.name for tensor in graph.graph.initializer}
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 20 + 4 + 4 + 5 * 3  # ResNet-18, laterals, outputs, head on 5 levels
    assert all(node.input[1] in weights for node in convolutions)


@pytest.mark.parametrize("forbidden", ["/home/", "/usr/", "site-packages", ".py"])
def test_the_file_carries_no_source_paths_of_the_machine_that_made_it(
    graph: onnx.ModelProto, forbidden: str
) -> None:
    stripped = onnx.ModelProto()
    stripped.CopyFrom(graph)
    del stripped.graph.initializer[:]
    assert forbidden.encode() not in stripped.SerializeToString()


class LargeMap(nn.Module):
    """The anchors at places of a map with more anchors than float32 can count."""

    grid = AnchorGrid(cell_anchors((32.0,), (0.5, 1.0, 2.0)), 2_500, 2_501, (4, 4))

    def forward(self, places: Tensor) -> Tensor:
        return anchors_at([self.grid], places)


def test_the_last_anchors_of_a_large_map_are_told_apart_in_the_graph() -> None:
    last = torch.arange(LargeMap.grid.count - 9, LargeMap.grid.count)[None, None]
    program = torch.onnx.export(
        LargeMap().eval(), (last,), dynamo=True, verbose=False, opset_version=OPSET
    )
    assert program is not None
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    [found] = session.run(None, {session.get_inputs()[0].name: last.numpy()})
    centres = (found[0, 0, :, :2] + found[0, 0, :, 2:]) / 2
    expected = [[4.0 * column, 4.0 * 2_499] for column in (2_498, 2_499, 2_500) for _ in range(3)]
    np.testing.assert_allclose(centres, expected, rtol=0, atol=2e-3)
