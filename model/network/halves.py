"""Large weights as float16: half the bytes of a file that ships, computed in float32 all the same.

Of a weight's 24 bits 11 are kept. Biases, scales and other small tensors stay in float32: they would save nothing.
"""

import copy

import torch
from torch import Tensor

from model.network.detector import Detector

# Numbers of the smallest tensor that is worth it.
SMALLEST = 1024


def halved(tensor: Tensor) -> Tensor:
    """`tensor` in float16 if it is large, float32 and within float16's range; else as it is."""
    if tensor.dtype != torch.float32 or tensor.numel() < SMALLEST:
        return tensor
    half = tensor.to(torch.float16)
    return half if torch.isfinite(half).all() else tensor


def with_halved_weights(detector: Detector) -> Detector:
    """A copy of `detector` whose large weights are what float16 keeps of them, in float32."""
    rounded = copy.deepcopy(detector)
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter.copy_(halved(parameter))
    return rounded
