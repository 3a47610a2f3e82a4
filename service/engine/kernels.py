"""Which integer kernels compute an int8 model: the fast ones where they are exact for it, else the exact ones.

ONNX Runtime multiplies uint8 activations by int8 weights. An x86 CPU without VNNI adds such products in pairs, in 16
bits that saturate. Weights of 7 bits never get there (2 x 255 x 64 = 32,640 of 32,767), those of 8 bits do: the default
model lost half a point of AP. For these ONNX Runtime can make the weights uint8 while it loads a file; the kernels of
uint8 by uint8 are exact on every CPU, and slower (docs/decisions/0005-int8-on-every-cpu.md).
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from service.artifact.manifest import Manifest
from service.engine.providers import CPU
from service.engine.runtime import ort

Kernels = Literal["fast", "exact"]

# Of weights with at most so many bits the fast kernels are exact on every CPU.
SAFE_BITS = 7
# A whole ONNX file: y = MatMulInteger(x uint8 [1, 4], four weights of 127). test_kernels.py makes it anew.
PRODUCTS = bytes.fromhex(
    "08093a610a1a0a01780a0177120179220d4d61744d756c496e74656765723a00120870726f647563"
    "74732a0f0804080110032a047f7f7f7f4201775a130a0178120e0a0c080212080a0208010a020804"
    "62130a0179120e0a0c080612080a0208010a02080142040a001012"
)
LARGEST, WEIGHT, COUNT = 255, 127, 4


def fast_kernels_saturate() -> bool:
    """Whether the fast kernels of this CPU get the sum of the largest products wrong.

    The kernels are asked, and no list of CPUs or of their flags: this is what ONNX Runtime chose here.
    """
    session = ort.InferenceSession(PRODUCTS, providers=[CPU])
    (total,) = session.run(None, {"x": np.full((1, COUNT), LARGEST, np.uint8)})
    return int(total.item()) != COUNT * LARGEST * WEIGHT


def kernels_for(
    manifest: Manifest, provider: str, saturate: Callable[[], bool] = fast_kernels_saturate
) -> Kernels | None:
    """The kernels for a model on `provider`; None where there is no choice: not int8, or not on the CPU.

    `saturate` says whether the fast ones do here; it is asked only where the weights make it matter. A file that does
    not say how many bits they have may have 8.
    """
    if manifest.precision != "int8" or provider != CPU:
        return None
    safe = manifest.weight_bits is not None and manifest.weight_bits <= SAFE_BITS
    return "fast" if safe or not saturate() else "exact"
