"""Large weights as float16: half the bytes of a file that ships, computed in float32 all the same.

Of a weight's 24 bits 11 are kept. Biases, scales and other small tensors stay in float32: they would save nothing.

In a checkpoint that is deflated they lie as planes: all low bytes, then all high ones. Signs and exponents, which are
much alike, are beside each other there, and the file is a fifteenth smaller.
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


def as_planes(half: Tensor) -> Tensor:
    """uint8 [2, ...]: the low bytes of a float16 tensor, and its high bytes."""
    return half.contiguous().unsqueeze(-1).view(torch.uint8).movedim(-1, 0).contiguous()


def from_planes(planes: Tensor) -> Tensor:
    """The float16 tensor that `as_planes` took."""
    return planes.movedim(0, -1).contiguous().view(torch.float16).squeeze(-1)


def with_halved_weights(detector: Detector) -> Detector:
    """A copy of `detector` whose large weights are what float16 keeps of them, in float32."""
    rounded = copy.deepcopy(detector)
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter.copy_(halved(parameter))
    return rounded
