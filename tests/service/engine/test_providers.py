from pathlib import Path

import pytest

from service.engine.providers import (
    CPU,
    CUDA,
    TENSORRT,
    Device,
    GpuOptions,
    explanation,
    loader_error,
    provider_for,
    with_options,
)
from service.errors import InvalidModel

GPU_BUILD = [TENSORRT, CUDA, CPU]
BUILT_FOR = "1.31.1 for CUDA 13.0"


@pytest.mark.parametrize(
    ("device", "built_in", "provider"),
    [
        ("auto", [CPU], CPU),
        ("auto", GPU_BUILD, CUDA),
        ("cpu", GPU_BUILD, CPU),
        ("cuda", GPU_BUILD, CUDA),
        ("tensorrt", GPU_BUILD, TENSORRT),
    ],
)
def test_a_device_stands_for_a_provider(device: Device, built_in: list[str], provider: str) -> None:
    assert provider_for(device, built_in) == provider


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_onnxruntime_was_not_built_for_is_refused_with_the_remedy(
    device: Device,
) -> None:
    with pytest.raises(InvalidModel, match=rf"be {device}, .* only {CPU}: install fpn-serve\[gpu"):
        provider_for(device, [CPU])


def test_the_cuda_provider_is_told_what_the_operator_set() -> None:
    gpu = GpuOptions("exhaustive", conv_max_workspace=False, memory_bytes=2**31)
    assert with_options(CUDA, gpu) == [
        (
            CUDA,
            {
                "cudnn_conv_algo_search": "EXHAUSTIVE",
                "cudnn_conv_use_max_workspace": "0",
                "use_tf32": "0",
                "arena_extend_strategy": "kSameAsRequested",
                "gpu_mem_limit": "2147483648",
            },
        ),
        CPU,
    ]


def test_without_a_limit_onnxruntime_is_told_none() -> None:
    (_, options), _ = with_options(CUDA, GpuOptions())
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert "gpu_mem_limit" not in options


def test_tensorrt_leaves_the_rest_to_cuda_and_keeps_its_engines_where_it_is_told() -> None:
    gpu = GpuOptions(tensorrt_cache=Path("/var/cache/trt"))
    (first, options), (second, _), third = with_options(TENSORRT, gpu)
    assert (first, second, third) == (TENSORRT, CUDA, CPU)
    assert options == {"trt_engine_cache_enable": "True", "trt_engine_cache_path": "/var/cache/trt"}


@pytest.mark.parametrize(
    ("why", "said"),
    [
        # As glibc says it, with onnxruntime-gpu 1.31.1 on a host that lacks the library.
        ("libcuda.so.1: cannot open shared object file: No such file", "there is no NVIDIA driver"),
        ("libcublasLt.so.13: cannot open shared object file: No such f", r"install fpn-serve\[gpu"),
        ("libnvinfer.so.10: cannot open shared object file: No such fi", "install TensorRT 10"),
        ("CUDA failure 35: CUDA driver version is insufficient", r"nvidia-smi.*for CUDA 13\.0"),
        (None, "does not say why; look at nvidia-smi"),
    ],
)
def test_what_did_not_load_is_said_with_what_to_do(why: str | None, said: str) -> None:
    sentence = explanation(why, BUILT_FOR)
    assert (why or "") in sentence
    with pytest.raises(InvalidModel, match=said):
        raise InvalidModel(sentence)


def test_the_loader_names_what_it_cannot_load(tmp_path: Path) -> None:
    assert "none.so: cannot open shared object" in (loader_error(tmp_path / "none.so") or "")
    assert loader_error(Path("libc.so.6")) is None
