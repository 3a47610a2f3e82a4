"""Convolutions with their frozen batch normalisation folded in.

Statistics and affine part are fixed, as in Faster R-CNN fine-tuning: a convolution and its norm are one
`FrozenNormConv2d`, which scales its weight instead of its output. That is the same function and the same gradient,
without a pass over the feature map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FrozenNormConv2d(nn.Conv2d):
    """A convolution whose frozen batch norm is folded into its weight at every call.

    Buffers `scale` and `shift` [out_channels] float32 are norm.weight / sqrt(running_var + eps) and
    norm.bias - running_mean * scale. The weight stays the unscaled one, so training sees the network it knows.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            kernel_size=convolution.kernel_size,  # type: ignore[arg-type]
            stride=convolution.stride,  # type: ignore[arg-type]
            padding=convolution.padding,  # type: ignore[arg-type]
            groups=convolution.groups,
            bias=False,
        )
        self.weight = convolution.weight
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", norm.bias.detach() - norm.running_mean * scale)

    def forward(self, input: Tensor) -> Tensor:
        """The normalised convolution of `input` [N, in_channels, H, W]."""
        weight = self.weight * self.scale[:, None, None, None]
        if self._thin_out(input):
            every = F.conv2d(input, weight, self.shift, 1, self.padding, groups=self.groups)
            return F.avg_pool2d(every, 1, self.stride)
        return F.conv2d(input, weight, self.shift, self.stride, self.padding, groups=self.groups)

    def _thin_out(self, input: Tensor) -> bool:
        """Whether to compute every output and drop those between the strides, for the gradient's sake.

        oneDNN's gradient of a strided depthwise convolution in bfloat16 takes three to seven times as long as that.
        """
        return (
            self.groups > 1
            and self.stride != (1, 1)
            and input.requires_grad
            and torch.is_autocast_enabled("cpu")
        )

    def folded(self) -> nn.Conv2d:
        """A plain convolution of the same function, for inference."""
        plain = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            kernel_size=self.kernel_size,  # type: ignore[arg-type]
            stride=self.stride,  # type: ignore[arg-type]
            padding=self.padding,  # type: ignore[arg-type]
            groups=self.groups,
        )
        plain.weight = nn.Parameter(self.weight.detach() * self.scale[:, None, None, None])
        plain.bias = nn.Parameter(self.shift.clone())
        return plain


def fold_frozen_norms(module: nn.Module) -> None:
    """Replace, in place, every convolution that a batch norm follows by one `FrozenNormConv2d`."""
    children = list(module.named_children())
    for (name, child), (next_name, follower) in zip(children, children[1:], strict=False):
        if isinstance(child, nn.Conv2d) and isinstance(follower, nn.BatchNorm2d):
            setattr(module, name, FrozenNormConv2d(child, follower))
            setattr(module, next_name, nn.Identity())
    for child in module.children():
        fold_frozen_norms(child)
