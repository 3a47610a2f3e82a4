"""What is computed in float32 at least, whatever the numbers of the network are."""

import torch
from torch import Tensor


def widened(tensor: Tensor) -> Tensor:
    """`tensor` in float32 where it is of half precision, else as it is: a network in float64 stays one throughout."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
