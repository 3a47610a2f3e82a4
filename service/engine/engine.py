"""The engine: one ONNX Runtime session, ready to run, of a file that is what the service expects.

Dimensions: N images of a batch, H x W of its frame.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.artifact.manifest import Manifest, read_manifest
from service.artifact.tensors import INPUTS, OUTPUTS, Outputs
from service.engine.buffers import Buffers, Frames, Regions, Sizes, cuda_runtime, page_lock
from service.engine.kernels import Kernels, fast_kernels_saturate, kernels_for
from service.engine.placement import Placement, check_placement, read_placement
from service.engine.providers import CPU, DEVICES, Device, GpuOptions
from service.engine.runtime import ort
from service.engine.session import CpuOptions, open_session
from service.errors import InvalidModel

GPU_DEFAULTS = GpuOptions()


class Engine:
    """A loaded model. `run` is for one thread at a time."""

    def __init__(
        self,
        path: Path,
        device: Device,
        threads: int,
        *,
        spinning: bool = False,
        gpu: GpuOptions = GPU_DEFAULTS,
        saturate: Callable[[], bool] = fast_kernels_saturate,
    ) -> None:
        """Loads the model at `path` for `device` with `threads` CPU threads (0 = all cores).

        `spinning` keeps the cores of waiting threads busy: faster alone, slower beside other work.
        `saturate` says whether this CPU's fast int8 kernels do.

        Raises:
            InvalidModel: the file is missing, broken, not ours, or `device` cannot be had; or its int8 weights
            need the exact kernels, and cannot be made to fit them.
        """
        if not path.is_file():
            found = "not a file" if path.exists() else "no such file"
            raise InvalidModel(f"{path}: {found}; expected a model that fpn-export wrote")
        cpu = CpuOptions(threads, spinning)
        self._session = open_session(path, device, cpu, gpu)
        self.provider: str = self._session.get_providers()[0]
        self.placement: Placement = read_placement(self._session)
        try:
            self.manifest = _manifest_of(self._session)
            _check_tensors("input", self._session.get_inputs(), INPUTS)
            _check_tensors("output", self._session.get_outputs(), OUTPUTS)
            check_placement(self.placement, self.provider)
        except InvalidModel as error:
            raise InvalidModel(f"{path}: {error.detail}") from error
        self.kernels: Kernels | None = kernels_for(self.manifest, self.provider, saturate)
        if self.kernels == "exact":
            self._session = _open_exact(path, cpu)
        self._buffers = Buffers(self._session, _page_lock_of(self.provider))

    @property
    def device(self) -> str:
        """The device that the model runs on: cpu, cuda or tensorrt."""
        return DEVICES[self.provider]

    def run(self, frames: Frames, sizes: Sizes, regions: Regions = ()) -> Outputs:
        """The outputs for N frames uint8 [3, H, W] of one size; `sizes`: (height, width) of each content.

        The frames are copied once, into the memory that the session reads.
        """
        _, height, width = frames[0].shape
        return self._buffers.binding(len(frames), (height, width)).run(frames, sizes, regions)


def _open_exact(path: Path, cpu: CpuOptions) -> ort.InferenceSession:
    """The session of an int8 file with the kernels that are exact on every CPU."""
    try:
        return open_session(path, "cpu", replace(cpu, exact=True), GPU_DEFAULTS)
    except InvalidModel as error:
        raise InvalidModel(
            f"{path}: this CPU's fast int8 kernels are not exact for weights of 8 bits, and ONNX Runtime cannot"
            " load the file for the exact ones: export it again, or serve the float32 model"
        ) from error


def _page_lock_of(provider: str) -> Callable[[NDArray[np.uint8]], object] | None:
    runtime = None if provider == CPU else cuda_runtime(ort.cuda_version)
    return None if runtime is None else partial(page_lock, runtime=runtime)


def _manifest_of(session: ort.InferenceSession) -> Manifest:
    text = session.get_modelmeta().custom_metadata_map.get("manifest")
    if text is None:
        raise InvalidModel("an ONNX file without a manifest: expected one that fpn-export wrote")
    return read_manifest(text)


def _check_tensors(
    kind: str, found: list[ort.NodeArg], expected: dict[str, tuple[str, int]]
) -> None:
    got = {arg.name: (arg.type, len(arg.shape)) for arg in found}
    if set(got) != set(expected):
        raise InvalidModel(
            f"expected {kind}s {sorted(expected)}, got {sorted(got)}: export the model again with this version"
        )
    for name, (dtype, rank) in expected.items():
        if got[name] != (dtype, rank):
            raise InvalidModel(
                f"{kind} {name}: expected {dtype} of rank {rank},"
                f" got {got[name][0]} of rank {got[name][1]}"
            )
