"""What the graph promises of itself; what it answers is compared in test_parity and test_artifact."""

from collections import Counter

import onnx
import pytest

from export.graph import OPSET


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
        "boxes": (float32, ["N", 30, 4]),
        "scores": (float32, ["N", 30]),
        "labels": (int64, ["N", 30]),
        "levels": (int64, ["N", 30]),
        "counts": (int64, ["N"]),
        "proposal_boxes": (float32, ["N", 5, 40, 4]),
        "proposal_scores": (float32, ["N", 5, 40]),
        "proposal_counts": (int64, ["N", 5]),
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
