"""The memory that a session reads frames from: allocated once, and bound to it shape by shape.

A batch is laid straight into it, so no array is stacked first and none is allocated for a run. On CUDA
it is page-locked, so that the copy to the GPU needs no second copy on the host.

Dimensions: N images of a batch, H x W of its frame.
"""

import ctypes
import logging
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.artifact.tensors import OUTPUTS, Outputs
from service.engine.runtime import ort

log = logging.getLogger(__name__)

Size = tuple[int, int]
Block = NDArray[np.uint8]
Frames = Sequence[Block] | Block
Sizes = Sequence[Size] | NDArray[np.int64]
# float32 [E, 4] of each image, xyxy pixels of the frame
Regions = Sequence[NDArray[np.float32]]

OF_REGIONS = ("region_boxes", "region_scores", "region_labels", "region_levels")


def least_regions(version: str) -> int:
    """How many regions a run must have for this version of ONNX Runtime.

    Of the graph that ships 1.26 to 1.31 (the newest for CUDA) fail on none: "Can broadcast 0 by 0 or 1. 20 is invalid"
    in float32, "invalid expand shape" in int8. They are given one then, and nobody sees its answer.
    """
    major, minor = map(int, version.split(".")[:2])
    return 0 if (major, minor) >= (1, 32) else 1


LEAST_REGIONS = least_regions(ort.__version__)


class Binding:
    """A session's inputs and outputs for batches of one shape."""

    def __init__(self, session: ort.InferenceSession, pixels: Block, least: int) -> None:
        """Binds uint8 [N, 3, H, W] `pixels`, which the session reads where they are, and at least so many regions."""
        self._session = session
        self._least = least
        self._pixels = pixels
        self._sizes = np.zeros((len(pixels), 2), np.int64)
        self._io = session.io_binding()
        self._io.bind_cpu_input("images", self._pixels)
        self._io.bind_cpu_input("sizes", self._sizes)
        self._regions = self._bound_regions(least)

    def run(self, frames: Frames, sizes: Sizes, regions: Regions = ()) -> Outputs:
        """The outputs for N frames uint8 [3, H, W] and their content; nobody writes to them later.

        `regions` are those of each frame, or nothing where no frame has any; E is the most that one has.
        """
        most = max(map(len, regions), default=0)
        bound = max(most, self._least)
        if bound != self._regions.shape[1]:
            self._regions = self._bound_regions(bound)
        self._regions[:] = 0
        for index, boxes in enumerate(regions):
            self._regions[index, : len(boxes)] = boxes
        for index, frame in enumerate(frames):
            self._pixels[index] = frame
        self._sizes[:] = sizes
        self._session.run_with_iobinding(self._io)
        outputs = Outputs(*self._io.copy_outputs_to_cpu())
        if bound > most:
            asked = {name: getattr(outputs, name)[:, :most] for name in OF_REGIONS}
            outputs = replace(outputs, **asked)
        return outputs

    def _bound_regions(self, most: int) -> NDArray[np.float32]:
        """Float32 [N, E, 4], which the session reads where it is, for E = `most`; outputs are bound anew for that E."""
        regions = np.zeros((len(self._pixels), most, 4), np.float32)
        self._io.bind_cpu_input("regions", regions)
        for name in OUTPUTS:
            self._io.bind_output(name, "cpu")
        return regions


class Buffers:
    """The bindings of one session, whose pixels share one block: only one shape runs at a time.

    The block grows to the largest batch that has run. `page_lock` is called with every block.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        page_lock: Callable[[Block], object] | None = None,
        least: int = LEAST_REGIONS,
    ) -> None:
        """Every run has at least so many regions."""
        self._session = session
        self._page_lock = page_lock
        self._least = least
        self._block: Block = np.zeros(0, np.uint8)
        self._bindings: dict[tuple[int, Size], Binding] = {}

    @property
    def nbytes(self) -> int:
        """The bytes of the block."""
        return self._block.nbytes

    def binding(self, count: int, frame: Size) -> Binding:
        """The binding for `count` frames of size `frame`."""
        nbytes = count * 3 * prod(frame)
        if nbytes > self._block.nbytes:
            # They hold the block that goes.
            self._bindings.clear()
            self._block = np.zeros(nbytes, np.uint8)
            if self._page_lock is not None:
                self._page_lock(self._block)
        key = (count, frame)
        if key not in self._bindings:
            pixels = self._block[:nbytes].reshape(count, 3, *frame)
            self._bindings[key] = Binding(self._session, pixels, self._least)
        return self._bindings[key]


def cuda_runtime(cuda_version: str) -> Any:
    """The CUDA runtime library of `cuda_version` (13.0, say); None where it cannot be loaded."""
    try:
        return ctypes.CDLL(f"libcudart.so.{cuda_version.partition('.')[0]}")
    except OSError as error:
        log.info("the frames' memory is not page-locked: %s", error)
        return None


def page_lock(block: Block, runtime: Any) -> bool:
    """Locks the pages of `block` for as long as it lives. False, and no harm done, when CUDA will not."""
    address, nbytes = ctypes.c_void_p(block.ctypes.data), ctypes.c_size_t(block.nbytes)
    code = runtime.cudaHostRegister(address, nbytes, ctypes.c_uint(0))
    if code != 0:
        # Clears it: onnxruntime would take it for an error of its own.
        runtime.cudaGetLastError()
        log.info("the frames' memory is not page-locked: CUDA error %d", code)
        return False
    weakref.finalize(block, runtime.cudaHostUnregister, address).atexit = False
    return True
