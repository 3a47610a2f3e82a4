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
            dilation=convolution.dilation,  # type: ignore[arg-type]
            groups=convolution.groups,
            bias=False,
        )
        self.weight = convolution.weight
        scale, shift = _scale_and_shift(norm)
        if convolution.bias is not None:
            shift = shift + convolution.bias.detach() * scale
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, input: Tensor) -> Tensor:
        """The normalised convolution of `input` [N, in_channels, H, W]."""
        weight = self.weight * self.scale[:, None, None, None]
        if self._thin_out(input):
            every = self._convolved(input, weight, (1, 1))
            return F.avg_pool2d(every, 1, self.stride)
        return self._convolved(input, weight, self.stride)

    def _convolved(self, input: Tensor, weight: Tensor, stride: tuple[int, ...]) -> Tensor:
        return F.conv2d(input, weight, self.shift, stride, self.padding, self.dilation, self.groups)

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
            dilation=self.dilation,  # type: ignore[arg-type]
            groups=self.groups,
        )
        plain.weight = nn.Parameter(self.weight.detach() * self.scale[:, None, None, None])
        plain.bias = nn.Parameter(self.shift.clone())
        return plain


class FrozenNorm(nn.Module):
    """A frozen batch norm that no convolution comes before: [N, C, H, W] times `scale` plus `shift`, both [C]."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        scale, shift = _scale_and_shift(norm)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, input: Tensor) -> Tensor:
        """The normalised `input` [N, C, H, W]."""
        return input * self.scale[:, None, None] + self.shift[:, None, None]


def fold_frozen_norms(module: nn.Module) -> None:
    """Replace, in place, every convolution that a batch norm follows by one `FrozenNormConv2d`."""
    children = list(module.named_children())
    for (name, child), (next_name, follower) in zip(children, children[1:], strict=False):
        # a subclass may pad or do more in its own way
        if type(child) is nn.Conv2d and isinstance(follower, nn.BatchNorm2d):
            setattr(module, name, FrozenNormConv2d(child, follower))
            setattr(module, next_name, _after(follower))
    for child in module.children():
        fold_frozen_norms(child)


def freeze_norms(module: nn.Module) -> None:
    """Replace, in place, every batch norm that is left by a `FrozenNorm`."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Sequential(FrozenNorm(child), _after(child)))
        else:
            freeze_norms(child)


def _after(norm: nn.BatchNorm2d) -> nn.Module:
    """What a norm does beside normalising: timm's may hold the activation that follows."""
    activation = getattr(norm, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight = norm.weight.detach() if norm.affine else torch.ones_like(norm.running_var)
    scale = weight / torch.sqrt(norm.running_var + norm.eps)
    shift = -norm.running_mean * scale
    return scale, norm.bias.detach() + shift if norm.affine else shift
