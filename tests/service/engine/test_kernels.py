"""Which int8 kernels are taken, on CPUs of both kinds: this one, whatever it is, and an emulated one with AVX2."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from service.artifact.manifest import read_manifest
from service.engine.engine import Engine
from service.engine.kernels import PRODUCTS, Kernels, kernels_for
from service.engine.providers import CPU, CUDA
from service.errors import InvalidModel
from tests.other_cpu import output_on_avx2
from tests.service.tiny_model import (
    MANIFEST,
    write_tiny_int8_model,
    write_unconvertible_int8_model,
)

WHITE = np.full((1, 3, 32, 64), 255, np.uint8)
SIZES = np.array([[32, 60]])

ON_AVX2 = """
import json, sys
from pathlib import Path
import numpy as np
from service.engine.engine import Engine
from service.engine.kernels import fast_kernels_saturate
white = np.full((1, 3, 32, 64), 255, np.uint8)
for path in sys.argv[1:]:
    engine = Engine(Path(path), "cpu", 1)
    score = float(engine.run(white, np.array([[32, 60]])).scores[0, 0])
    print(json.dumps({"saturate": fast_kernels_saturate(), "kernels": engine.kernels, "score": score}))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Models with the largest weights of 7 and of 8 bits."""
    folder = tmp_path_factory.mktemp("int8")
    weights = {7: 64, 8: 127}
    return {b: write_tiny_int8_model(folder / f"{b}.onnx", w, b) for b, w in weights.items()}


@pytest.fixture(scope="module")
def on_avx2(files: dict[int, Path]) -> dict[int, Any]:
    """What the engine says of each of `files` on the emulated CPU."""
    lines = output_on_avx2(ON_AVX2, *map(str, files.values())).splitlines()
    return dict(zip(files, map(json.loads, lines), strict=True))


def saturate() -> bool:
    return True


def do_not_saturate() -> bool:
    return False


def are_not_to_be_asked() -> bool:
    raise AssertionError("nothing depends on the answer")


def test_the_question_is_a_sum_of_four_of_the_largest_products() -> None:
    assert onnx.load_from_string(PRODUCTS) == onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 18]>
        products (uint8[1, 4] x) => (int32[1, 1] y) <int8[4, 1] w = {127, 127, 127, 127}>
        { y = MatMulInteger (x, w) }""")


@pytest.mark.parametrize(
    ("precision", "bits", "provider", "question", "kernels"),
    [
        ("int8", 8, CPU, saturate, "exact"),
        ("int8", 8, CPU, do_not_saturate, "fast"),
        ("int8", None, CPU, saturate, "exact"),
        ("int8", 7, CPU, are_not_to_be_asked, "fast"),
        ("int8", 8, CUDA, are_not_to_be_asked, None),
        ("float32", None, CPU, are_not_to_be_asked, None),
    ],
)
def test_fast_kernels_are_taken_where_they_are_exact_for_the_file(
    precision: str,
    bits: int | None,
    provider: str,
    question: Callable[[], bool],
    kernels: Kernels | None,
) -> None:
    manifest = read_manifest(json.dumps(MANIFEST | {"precision": precision, "weight_bits": bits}))
    assert kernels_for(manifest, provider, question) == kernels


@pytest.mark.parametrize(
    ("bits", "question", "kernels"),
    [(8, saturate, "exact"), (7, saturate, "fast"), (7, do_not_saturate, "fast")],
)
def test_the_engine_says_which_it_took_and_answers_exactly(
    files: dict[int, Path], bits: int, question: Callable[[], bool], kernels: Kernels
) -> None:
    engine = Engine(files[bits], "cpu", 1, saturate=question)
    assert engine.kernels == kernels
    assert engine.run(WHITE, SIZES).scores[0, 0] == 1


def test_this_cpu_answers_exactly_for_weights_of_8_bits(files: dict[int, Path]) -> None:
    assert Engine(files[8], "cpu", 1).run(WHITE, SIZES).scores[0, 0] == 1


def test_a_cpu_with_avx2_takes_the_exact_kernels_for_weights_of_8_bits(
    on_avx2: dict[int, Any],
) -> None:
    assert on_avx2[8] == {"saturate": True, "kernels": "exact", "score": 1}


def test_a_cpu_with_avx2_takes_the_fast_kernels_for_weights_of_7_bits(
    on_avx2: dict[int, Any],
) -> None:
    assert on_avx2[7] == {"saturate": True, "kernels": "fast", "score": 1}


def test_the_fast_kernels_of_a_cpu_with_avx2_do_get_weights_of_8_bits_wrong(tmp_path: Path) -> None:
    claimed = write_tiny_int8_model(tmp_path / "model.onnx", 127, 7)
    answer = json.loads(output_on_avx2(ON_AVX2, str(claimed)))
    assert answer["kernels"] == "fast"
    assert answer["score"] == pytest.approx(2 * 32767 / (4 * 255 * 127), abs=1e-4)


def test_weights_that_cannot_be_converted_are_refused_where_the_fast_kernels_saturate(
    tmp_path: Path,
) -> None:
    path = write_unconvertible_int8_model(tmp_path / "model.onnx")
    with pytest.raises(InvalidModel, match=r"export it again, or serve the float32 model"):
        Engine(path, "cpu", 1, saturate=saturate)
