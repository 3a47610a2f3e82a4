"""Execution providers: which one a device stands for, its options, and why it did not load.

An onnxruntime that has a provider built in may still be unable to load it, and then runs on the CPU
without a word. `explain` finds the word.
"""

import contextlib
import ctypes
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from service.engine.runtime import ort
from service.errors import InvalidModel

Device = Literal["auto", "cpu", "cuda", "tensorrt"]
ConvSearch = Literal["heuristic", "exhaustive", "default"]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
DEVICES = {CPU: "cpu", CUDA: "cuda", TENSORRT: "tensorrt"}

LIBRARIES = {
    CUDA: "libonnxruntime_providers_cuda.so",
    TENSORRT: "libonnxruntime_providers_tensorrt.so",
}
NO_DRIVER = (
    "there is no NVIDIA driver: look at nvidia-smi, and in a container whether it was given the"
    " GPU (docker run --gpus all)"
)
DRIVER = "look at nvidia-smi, and whether the driver is new enough for that CUDA"


@dataclass(frozen=True)
class GpuOptions:
    """How ONNX Runtime uses a GPU.

    Attributes:
        conv_search: how cuDNN's algorithm for a convolution is chosen. An exhaustive search runs
            again for every new shape: 634 ms against 1.9 ms (vernacula#191); since ONNX Runtime
            1.20 "default" is slower yet, once it runs (microsoft/onnxruntime#22705).
        conv_max_workspace: whether a convolution may use as much memory as its algorithm likes.
        memory_bytes: the most that ONNX Runtime's arena may hold; 0 for all there is.
        tensorrt_cache: folder in which TensorRT keeps the engines that it has built; None for none.
    """

    conv_search: ConvSearch = "heuristic"
    conv_max_workspace: bool = True
    memory_bytes: int = 0
    tensorrt_cache: Path | None = None


def provider_for(device: Device, built_in: list[str]) -> str:
    """The provider that `device` stands for, of those that onnxruntime has built in.

    Raises:
        InvalidModel: `device` needs one that is not there.
    """
    if device == "cpu" or (device == "auto" and CUDA not in built_in):
        return CPU
    provider = TENSORRT if device == "tensorrt" else CUDA
    if provider not in built_in:
        raise InvalidModel(
            f"the device is to be {device}, but the onnxruntime that is installed has only"
            f" {', '.join(built_in)}: install fpn-serve[gpu] in place of fpn-serve[cpu], or set"
            " FPN_DEVICE=auto"
        )
    return provider


def with_options(provider: str, gpu: GpuOptions) -> list[Any]:
    """`provider` and those that take what it cannot run, as onnxruntime wants them."""
    if provider == CPU:
        return [CPU]
    cuda = {
        "cudnn_conv_algo_search": gpu.conv_search.upper(),
        "cudnn_conv_use_max_workspace": str(int(gpu.conv_max_workspace)),
        # Of float32 TF32 keeps as many bits as float16: other answers than export saw. float16 is the file for speed.
        "use_tf32": "0",
        # The arena never shrinks, so it must not double either.
        "arena_extend_strategy": "kSameAsRequested",
    }
    if gpu.memory_bytes:
        cuda["gpu_mem_limit"] = str(gpu.memory_bytes)
    if provider == CUDA:
        return [(CUDA, cuda), CPU]
    tensorrt = {}
    if gpu.tensorrt_cache is not None:
        tensorrt = {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(gpu.tensorrt_cache),
        }
    return [(TENSORRT, tensorrt), (CUDA, cuda), CPU]


def preload() -> None:
    """Loads the CUDA and cuDNN libraries of the gpu extra, where they are; silent where not."""
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()


def explain(provider: str, raised: str | None) -> str:
    """Why `provider` did not load, and what to do. `raised`: what onnxruntime said, if it did."""
    missing = loader_error(Path(ort.__file__).parent / "capi" / LIBRARIES[provider])
    return explanation(missing or raised, f"{ort.__version__} for CUDA {ort.cuda_version}")


def explanation(why: str | None, built_for: str) -> str:
    """The sentence for `why`, what the loader of libraries or onnxruntime said, if anything."""
    if why is None:
        return f"onnxruntime does not say why; {DRIVER}"
    if "libcuda.so" in why:
        return f"{why}; {NO_DRIVER}"
    if "libnvinfer" in why or "libnvonnxparser" in why:
        return f"{why}; install TensorRT 10 where the loader finds it, or set FPN_DEVICE=cuda"
    if "cannot open shared object file" in why:
        return (
            f"{why}; this is onnxruntime-gpu {built_for}: install fpn-serve[gpu], which brings"
            " these libraries, or run on an image that has them"
        )
    return f"{why}; {DRIVER} (onnxruntime-gpu {built_for})"


def loader_error(library: Path) -> str | None:
    """What the loader says of `library`; None when it loads."""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return None
