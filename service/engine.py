"""The engine: one ONNX Runtime session, ready to run, of a file that is what the service expects.

Dimensions: N images of a batch, H x W of its frame, D detections, L levels, K proposals of each.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import InvalidModel
from service.manifest import Manifest, read_manifest

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# HEURISTIC: an exhaustive search runs again for every new shape (634 ms against 1.9 ms on average).
# kSameAsRequested: the arena never shrinks, so it must not double either.
CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
}

# name: (type, rank)
INPUTS = {"images": ("tensor(uint8)", 4), "sizes": ("tensor(int64)", 2)}
OUTPUTS = {
    "boxes": ("tensor(float)", 3),
    "scores": ("tensor(float)", 2),
    "labels": ("tensor(int64)", 2),
    "levels": ("tensor(int64)", 2),
    "counts": ("tensor(int64)", 1),
    "proposal_boxes": ("tensor(float)", 4),
    "proposal_scores": ("tensor(float)", 3),
    "proposal_counts": ("tensor(int64)", 2),
}


@dataclass(frozen=True)
class Outputs:
    """What the model gives for a batch, or, indexed, for one image of it (without N).

    Attributes:
        boxes: float32 [N, D, 4], xyxy pixels of the frame, best score first, zero-padded.
        scores: float32 [N, D], descending; zero past `counts`.
        labels: int64 [N, D], index into the manifest's classes.
        levels: int64 [N, D], number of the level that the detection was pooled from.
        counts: int64 [N], detections that are real.
        proposal_boxes: float32 [N, L, K, 4], xyxy pixels of the frame, best first.
        proposal_scores: float32 [N, L, K], objectness probability.
        proposal_counts: int64 [N, L], proposals that are real.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    levels: NDArray[np.int64]
    counts: NDArray[np.int64]
    proposal_boxes: NDArray[np.float32]
    proposal_scores: NDArray[np.float32]
    proposal_counts: NDArray[np.int64]

    def __getitem__(self, index: int) -> "Outputs":
        """The outputs of image `index`: each array without its first dimension."""
        return Outputs(**{name: getattr(self, name)[index] for name in OUTPUTS})


class Engine:
    """A loaded model. `run` is for one thread at a time."""

    def __init__(self, path: Path, device: Device, threads: int) -> None:
        """Loads the model at `path` for `device` with `threads` CPU threads (0 = all cores).

        Raises:
            InvalidModel: the file is missing, broken, not ours, or `device` cannot be had.
        """
        if not path.is_file():
            found = "not a file" if path.exists() else "no such file"
            raise InvalidModel(f"{path}: {found}; FPN_MODEL names an exported model")
        self._session = open_session(path, device, threads)
        try:
            self.manifest = _manifest_of(self._session)
            _check_tensors("input", self._session.get_inputs(), INPUTS)
            _check_tensors("output", self._session.get_outputs(), OUTPUTS)
        except InvalidModel as error:
            raise InvalidModel(f"{path}: {error.detail}") from error
        self.provider: str = self._session.get_providers()[0]

    @property
    def device(self) -> str:
        """The device that the model runs on: cuda or cpu."""
        return "cuda" if self.provider == CUDA else "cpu"

    def run(self, images: NDArray[np.uint8], sizes: NDArray[np.int64]) -> Outputs:
        """The outputs for frames uint8 [N, 3, H, W] with content int64 [N, 2] (height, width)."""
        values = self._session.run(list(OUTPUTS), {"images": images, "sizes": sizes})
        return Outputs(*values)


def open_session(path: Path, device: Device, threads: int) -> ort.InferenceSession:
    """The session on `device`; auto is CUDA where ONNX Runtime has it and it loads, else the CPU.

    Raises:
        InvalidModel: not a model, or CUDA was asked for and cannot be had.
    """
    if device == "cpu" or (device == "auto" and CUDA not in ort.get_available_providers()):
        return _open(path, [CPU], threads)
    if CUDA not in ort.get_available_providers():
        raise InvalidModel(
            "FPN_DEVICE is cuda, but the onnxruntime that is installed is built for the CPU:"
            " install fpn-serve[gpu] instead of fpn-serve[cpu], or set FPN_DEVICE=auto"
        )
    return _open_on_cuda(path, device, threads)


def _open_on_cuda(path: Path, device: Device, threads: int) -> ort.InferenceSession:
    ort.preload_dlls()  # finds the CUDA and cuDNN libraries of the gpu extra
    try:
        session = _open(path, [(CUDA, CUDA_OPTIONS), CPU], threads)
        why = "its libraries or the driver did not load"
    except InvalidModel as error:
        session, why = None, error.detail
    if session is not None and CUDA in session.get_providers():
        return session
    if device == "cuda":
        raise InvalidModel(
            f"FPN_DEVICE is cuda, but the CUDA provider cannot be used: {why}; check"
            " nvidia-smi, and that the driver is new enough for the CUDA of the gpu extra"
        )
    log.warning("the CUDA provider cannot be used, running on the CPU: %s", why)
    return session or _open(path, [CPU], threads)


def _open(path: Path, providers: list[Any], threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # fatal: what fails is raised, and said once, by us
    try:
        # No fallback: a failing GPU must not turn into a silent CPU in the middle of a run.
        return ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's errors have no common class of their own
        first_line = str(error).strip().splitlines()[0]
        raise InvalidModel(f"{path}: ONNX Runtime cannot load it: {first_line}") from error


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
        raise InvalidModel(f"expected {kind}s {sorted(expected)}, got {sorted(got)}")
    for name, (dtype, rank) in expected.items():
        if got[name] != (dtype, rank):
            raise InvalidModel(
                f"{kind} {name}: expected {dtype} of rank {rank},"
                f" got {got[name][0]} of rank {got[name][1]}"
            )
