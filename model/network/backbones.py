"""What a bottom-up network is to a detector: a stem and stages, or a network that gives its maps itself.

Legend
    N   images              H W  of the input, multiples of 32
    C_k a stage's output, [N, channels, H / stride, W / stride], stride 2^k
"""

from collections.abc import Sequence
from itertools import takewhile

import torch
from torch import Tensor, nn

from model.network.pretrained import UnfitNetwork

# Of C2..C5.
STRIDES = (4, 8, 16, 32)


class Backbone(nn.Module):
    """A stem and stages run in order; a stage's output is its C_k.

    Attributes:
        channels, strides: of the maps that come out, finest first.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        channels: tuple[int, ...],
        strides: tuple[int, ...] = STRIDES,
    ) -> None:
        super().__init__()
        self.channels, self.strides = channels, strides
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self._taken = tuple(range(len(stages)))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps of normalised `images` [N, 3, H, W], finest first: C2 to C5, or those that are taken of them."""
        outputs = self._fixed_outputs(images) if self.training else []
        rest = [self.stem, *self.stages][len(outputs) :]
        outputs += _run(rest, outputs[-1] if outputs else images)
        return tuple(outputs[1 + place] for place in self._taken)

    def take(self, strides: tuple[int, ...]) -> None:
        """Put out the maps of `strides` alone, and make none beyond the last.

        Raises:
            UnfitNetwork: there are none of one of them.
        """
        places = _places_of(strides, self.strides)
        self.stages = self.stages[: places[-1] + 1]
        self.channels = tuple(self.channels[place] for place in places)
        self.strides, self._taken = strides, tuple(places)

    def _fixed_outputs(self, images: Tensor) -> list[Tensor]:
        """What the parts that do not learn put out, up to the first that does: no gradient is kept for them.

        A CPU takes them image by image. The same maps of a whole batch come on fresh pages of memory, whose first
        touch costs more than the arithmetic: 105 ms instead of 42 for MobileNetV2's stem and C2 at 8 x 320 x 576.
        """
        parts = [self.stem, *self.stages]
        fixed = list(
            takewhile(lambda part: not any(p.requires_grad for p in part.parameters()), parts)
        )
        with torch.no_grad():
            chunks = torch.split(images, 1) if images.device.type == "cpu" else (images,)
            by_chunk = [_run(fixed, chunk) for chunk in chunks]
        return [torch.cat(outputs) for outputs in zip(*by_chunk, strict=True)]

    def release_last_stage(self) -> nn.Module:
        """The stage that makes C5, which from now on is the caller's: `forward` ends with C4."""
        last = self.stages[-1]
        self.stages = self.stages[:-1]
        self.channels, self.strides = self.channels[:-1], self.strides[:-1]
        self._taken = self._taken[:-1]
        return last

    def freeze(self, stages: int) -> None:
        """Fix the first `stages` of (stem, C2, C3, C4, C5)."""
        for part in [self.stem, *self.stages][:stages]:
            part.requires_grad_(False)


class MapsBackbone(Backbone):
    """A network that gives all its maps at once, as timm's do: it is the stem, and there are no stages."""

    def __init__(
        self,
        network: nn.Module,
        places: tuple[int, ...],
        channels: tuple[int, ...],
        strides: tuple[int, ...],
    ) -> None:
        super().__init__(network, [], channels, strides)
        self._taken = places

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps of normalised `images` [N, 3, H, W], finest first."""
        maps = self.stem(images)
        return tuple(maps[place] for place in self._taken)

    def take(self, strides: tuple[int, ...]) -> None:
        """Put out the maps of `strides` alone.

        Raises:
            UnfitNetwork: there are none of one of them.
        """
        places = _places_of(strides, self.strides)
        self.channels = tuple(self.channels[place] for place in places)
        self._taken = tuple(self._taken[place] for place in places)
        self.strides = strides

    def release_last_stage(self) -> nn.Module:
        """Refused: the network is not a row of stages."""
        raise UnfitNetwork("expected a backbone of stages for roi.head 'conv5', such as a ResNet")

    def freeze(self, stages: int) -> None:
        """Fix its first children: `stages` fifths of them."""
        children = list(self.stem.children())
        for child in children[: stages * len(children) // 5]:
            child.requires_grad_(False)


def _places_of(strides: tuple[int, ...], there: tuple[int, ...]) -> list[int]:
    """Where each of `strides` stands in those that are `there`, one behind the other.

    Raises:
        UnfitNetwork: one of them is not there.
    """
    places: list[int] = []
    for stride in strides:
        rest = range(places[-1] + 1 if places else 0, len(there))
        place = next((each for each in rest if there[each] == stride), None)
        if place is None:
            raise UnfitNetwork(
                f"expected a backbone with maps of strides {list(strides)}, got {list(there)}: name those that there"
                " are in model.pyramid.strides"
            )
        places.append(place)
    return places


def _run(parts: list[nn.Module], features: Tensor) -> list[Tensor]:
    """The output of each of `parts`, of which one feeds the next."""
    outputs = []
    for part in parts:
        features = part(features)
        outputs.append(features)
    return outputs
