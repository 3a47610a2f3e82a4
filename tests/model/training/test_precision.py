"""Which numbers a network is trained in, on CPUs of both kinds wherever the tests run."""

import pytest
import torch

from model.config.training import PrecisionName
from model.training.precision import Precision, precision_for

AVX2 = {"avx2": True, "avx512_bf16": False, "amx_bf16": False, "cpu_name": "AMD EPYC"}
# AVX-512 without products of bfloat16: Skylake.
AVX512 = AVX2 | {"avx512_f": True, "avx512_vnni": True}
BF16 = AVX512 | {"avx512_bf16": True}
AMX = AVX512 | {"amx_bf16": True}


@pytest.mark.parametrize(
    ("instructions", "name"),
    [
        (AVX2, "float32"),
        (AVX512, "float32"),
        (BF16, "bfloat16"),
        (AMX, "bfloat16"),
        ({}, "float32"),
    ],
)
def test_auto_takes_bfloat16_only_where_the_cpu_computes_in_it(
    instructions: dict[str, object], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        precision = precision_for("auto", "cpu", instructions)
    assert precision.name == name
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert str(precision) in caplog.text


def test_auto_says_why() -> None:
    assert "computes in it: amx_bf16" in precision_for("auto", "cpu", AMX).why
    assert "none of avx512_bf16, amx_bf16" in precision_for("auto", "cpu", AVX2).why


def test_mixed_by_hand_warns_where_bfloat16_is_emulated_with_what_it_costs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert precision_for("mixed", "cpu", AVX2).name == "bfloat16"
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "14 times slower" in warning
    assert "auto takes float32" in warning


def test_mixed_by_hand_is_no_matter_where_the_cpu_computes_in_bfloat16(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert precision_for("mixed", "cpu", BF16).name == "bfloat16"
    assert caplog.records == []


@pytest.mark.parametrize(("device", "instructions"), [("cpu", BF16), ("cuda:1", AVX2)])
def test_float32_is_float32_everywhere(device: str, instructions: dict[str, object]) -> None:
    assert precision_for("float32", device, instructions).name == "float32"


@pytest.mark.parametrize("asked", ["auto", "mixed"])
def test_cuda_takes_float16_and_scales_its_gradients(asked: PrecisionName) -> None:
    precision = precision_for(asked, "cuda:1", AVX2)
    assert precision.name == "float16"
    assert precision.scaled


def test_this_machine_is_asked_where_no_other_is_given() -> None:
    here = torch.cpu.get_capabilities()
    assert precision_for("auto", "cpu") == precision_for("auto", "cpu", here)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        (Precision("float32", "by hand"), torch.float32),
        (Precision("bfloat16", "by hand"), torch.bfloat16),
    ],
)
def test_a_product_is_computed_in_the_precision(precision: Precision, dtype: torch.dtype) -> None:
    with precision.autocast(torch.device("cpu")):
        assert (torch.ones(2, 3) @ torch.ones(3, 4)).dtype == dtype
