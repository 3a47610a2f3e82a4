"""The engine: ONNX Runtime sessions of one file that is what the service expects, ready to run.

On a CPU there is a session for each number of threads that a run may have (layouts.py); on a GPU there is one.

Dimensions: N images of a batch, H x W of its frame.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.artifact.manifest import Manifest, read_manifest
from service.artifact.tensors import INPUTS, OUTPUTS, Outputs
from service.engine.buffers import Frames, Regions, Sizes, cuda_runtime, page_lock
from service.engine.cpus import resident_bytes, usable_cores
from service.engine.kernels import Kernels, fast_kernels_saturate, kernels_for
from service.engine.layouts import Layout, layouts_for
from service.engine.placement import Placement, check_placement, read_placement
from service.engine.providers import CPU, DEVICES, Device, GpuOptions, provider_for
from service.engine.runners import Runners
from service.engine.runtime import ort
from service.engine.session import CpuOptions, open_session
from service.errors import InvalidModel

GPU_DEFAULTS = GpuOptions()


@dataclass(frozen=True)
class EngineOptions:
    """How an engine uses its device.

    Attributes:
        runners: how many runs may go on at once on a CPU; 0 is any number that `layouts_for` thinks of.
        spinning: whether waiting threads keep their cores busy: faster alone, slower beside other work.
        gpu: on a GPU.
    """

    runners: int = 1
    spinning: bool = False
    gpu: GpuOptions = GPU_DEFAULTS


DEFAULTS = EngineOptions()


class Engine:
    """A loaded model.

    Attributes:
        manifest, provider, placement, kernels: what is served, and what computes it.
        wanted: the device that was asked for: with `auto` a GPU's where ONNX Runtime was built for one.
        layouts: the ways in which runs may share the device, from one wide run on.
        session_bytes: what loading a session of so many threads added to the process's memory; 0 where nobody knows.
    """

    def __init__(
        self,
        path: Path,
        device: Device,
        threads: int,
        options: EngineOptions = DEFAULTS,
        saturate: Callable[[], bool] = fast_kernels_saturate,
    ) -> None:
        """Loads the model at `path` for `device` with `threads` CPU threads for all runs together (0 = all cores).

        `saturate` says whether this CPU's fast int8 kernels do.

        Raises:
            InvalidModel: the file is missing, broken, not ours, or `device` cannot be had; or its int8 weights
            need the exact kernels, and cannot be made to fit them.
        """
        if not path.is_file():
            found = "not a file" if path.exists() else "no such file"
            raise InvalidModel(f"{path}: {found}; expected a model that fpn-export wrote")
        # A number, since ONNX Runtime pins the threads of its own choice to cores: decision 12.
        cpu = CpuOptions(threads or usable_cores(), options.spinning)
        before = resident_bytes()
        session = open_session(path, device, cpu, options.gpu)
        self.provider: str = session.get_providers()[0]
        self.wanted: str = DEVICES[provider_for(device, ort.get_available_providers())]
        self.placement: Placement = read_placement(session)
        try:
            self.manifest = _manifest_of(session)
            _check_tensors("input", session.get_inputs(), INPUTS)
            _check_tensors("output", session.get_outputs(), OUTPUTS)
            check_placement(self.placement, self.provider)
        except InvalidModel as error:
            raise InvalidModel(f"{path}: {error.detail}") from error
        self.kernels: Kernels | None = kernels_for(self.manifest, self.provider, saturate)
        if self.kernels == "exact":
            cpu = replace(cpu, exact=True)
            session = _open_exact(path, cpu)
        runners = options.runners if self.provider == CPU else 1
        self.layouts = layouts_for(cpu.threads, runners, batch=1)
        sessions, self.session_bytes = (
            {cpu.threads: session},
            {cpu.threads: resident_bytes() - before},
        )
        for number in {layout.threads for layout in self.layouts} - {cpu.threads}:
            before = resident_bytes()
            sessions[number] = open_session(path, "cpu", replace(cpu, threads=number), options.gpu)
            self.session_bytes[number] = resident_bytes() - before
        self._runners = Runners(sessions, _page_lock_of(self.provider))

    @property
    def device(self) -> str:
        """The device that the model runs on: cpu, cuda or tensorrt."""
        return DEVICES[self.provider]

    def settle(self, layouts: Sequence[Layout]) -> None:
        """Runs have one of `layouts` from now on; the sessions of others are let go."""
        self.layouts = list(layouts)
        self._runners.keep({layout.threads for layout in layouts})

    def run(
        self, frames: Frames, sizes: Sizes, regions: Regions = (), layout: Layout | None = None
    ) -> Outputs:
        """The outputs for N frames uint8 [3, H, W] of one size; `sizes`: (height, width) of each content.

        Several threads may run at once; `layout`, one of `layouts`, says on how many cores this run is, the widest if
        there is none. The frames are copied once, into the memory that the session reads.
        """
        return self._runners.run((layout or self.layouts[0]).threads, frames, sizes, regions)


def _open_exact(path: Path, cpu: CpuOptions) -> ort.InferenceSession:
    """The session of an int8 file with the kernels that are exact on every CPU."""
    try:
        return open_session(path, "cpu", cpu, GPU_DEFAULTS)
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
