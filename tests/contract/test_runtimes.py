"""One file, the same answers in every runtime: also in those that keep 64-bit integers in 32 bits."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from export.graph import LARGEST, OUTPUTS, feed
from export.made_pictures import made_batch
from export.precision.ranges import quiet_session
from model.network.pooling import MAX_IMAGES, MAX_SIDE, Regions, sorting_key
from tests.detectors import noise
from tests.quiet_openvino import openvino

INTEGERS = (TensorProto.INT64, TensorProto.UINT64)
Feed = dict[str, NDArray[Any]]


def regions_of(count: int) -> Tensor:
    return torch.tensor([[4.0, 4, 40, 30], [0, 0, 64, 50], [30, 20, 50, 44]]).repeat(count, 1, 1)


def feeds() -> dict[str, Feed]:
    """Crowded and empty images, contents of one pixel, the largest frame both ways, and many images."""
    crowded = made_batch(3, (64, 96), np.random.default_rng(0))
    wide, high = (noise(1, frame) for frame in ((32, MAX_SIDE), (MAX_SIDE, 32)))
    many = noise(1, (32, 64)).expand(300, -1, -1, -1).contiguous()
    return {
        "crowded": feed(*crowded, regions_of(3)),
        "no regions": feed(*crowded),
        "one pixel": feed(noise(2, (64, 64)), torch.tensor([[1, 1], [64, 1]])),
        "wide": feed(wide, torch.tensor([[32, MAX_SIDE]])),
        "high": feed(high, torch.tensor([[MAX_SIDE, 32]])),
        "many": feed(many, torch.tensor([[32, 64]] * 300)),
    }


def integers_of(model: onnx.ModelProto) -> list[str]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.value_info, *inferred.output]
    return [v.name for v in values if v.type.tensor_type.elem_type in INTEGERS]


def with_integers_shown(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    names = integers_of(model)
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    there = {output.name for output in shown.graph.output}
    shown.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.INT64, None)
        for name in names
        if name not in there
    )
    return shown, names


@pytest.mark.parametrize("name", feeds())
def test_no_integer_of_the_graph_needs_more_than_32_bits(graph: onnx.ModelProto, name: str) -> None:
    shown, names = with_integers_shown(graph)
    assert len(names) > 50
    values = dict(zip(names, quiet_session(shown).run(names, feeds()[name]), strict=True))
    values |= {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    large = {n for n, v in values.items() if v.size and v.dtype.kind == "i" and is_large(v)}
    assert large == set()


def is_large(values: NDArray[Any]) -> bool:
    return bool(values.max() > LARGEST or values.min() < -LARGEST - 1)


def test_the_sorting_key_of_the_last_image_stays_within_32_bits() -> None:
    """A batch of that size is too large for a test: the key is looked at by itself."""
    corner = torch.tensor([[0.0, 0, 1, 1], [MAX_SIDE - 8, MAX_SIDE - 8, MAX_SIDE, MAX_SIDE]])
    for levels in ((2, 2), (5, 5)):
        key = sorting_key(Regions(corner, torch.tensor([0, MAX_IMAGES - 1]), torch.tensor(levels)))
        assert 0 <= int(key.min()) < int(key.max()) < 2**30


@pytest.mark.parametrize("name", ["crowded", "no regions", "wide"])
def test_openvino_finds_what_onnx_runtime_finds(
    graph: onnx.ModelProto, tmp_path: Path, name: str
) -> None:
    path, fed = tmp_path / "model.onnx", feeds()[name]
    onnx.save(graph, path)
    expected = dict(zip(OUTPUTS, quiet_session(graph).run(OUTPUTS, fed), strict=True))
    exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    got = openvino.Core().compile_model(path, "CPU", exact).create_infer_request().infer(fed)
    assert expected["counts"].sum() > 0
    for place, (output, values) in enumerate(expected.items()):
        if values.dtype == np.int64:
            np.testing.assert_array_equal(got[place], values, err_msg=output)
        else:
            np.testing.assert_allclose(got[place], values, atol=2e-3, err_msg=output)
