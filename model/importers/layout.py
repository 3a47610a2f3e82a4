"""How other projects name and lay out the tensors of a bottleneck FPN Faster R-CNN, and their way into ours.

A table maps each of our layers to (their layer, their batch norm or None). Tensors are laid out alike (channels first,
a region's features flattened as (channel, row, column), anchors of a cell together), but for two things: frozen batch
norms become our `scale` and `shift`, and the background's row of the class predictor may come first.

Legend
    i       0..3, for C2..C5 or P2..P5; `n` is i + 1 and `k` is i + 2 in other projects' counting
    b       block of a stage            j       convolution of a block, 1..3
    C       foreground classes
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from model.config.class_names import fault_of
from model.config.detector import BackboneName, DetectorConfig
from model.errors import Refused
from model.network.detector import Detector
from model.network.state_dicts import NoStateDict, state_dict_in

# Blocks of layer3 (res4) tell the networks of bottlenecks apart (He et al. 2015, table 1).
BLOCKS: dict[BackboneName, tuple[int, ...]] = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
NORM = ("weight", "bias", "running_mean", "running_var")

State = dict[str, Tensor]


class ImportRefused(Refused):
    """Weights that cannot be taken over; the message, one line, says what was expected and what came."""


@dataclass(frozen=True)
class Layout:
    """One project's names and order.

    Attributes:
        model: whose weights, for messages.
        layers: pattern of our layer -> patterns of their layer and of its norm.
        background: where the class predictor has its background row. First, the box predictor has rows for it too.
        ignored: suffixes of keys that carry no weights.
    """

    model: str
    layers: Mapping[str, tuple[str, str | None]]
    background: Literal["first", "last"]
    ignored: tuple[str, ...]

    def names(self, network: BackboneName) -> dict[str, tuple[str, str | None]]:
        """Our layers of the detector on `network` -> (their layer, their norm)."""
        named = {}
        for ours, (layer, norm) in self.layers.items():
            for i, j in product(range(4), (1, 2, 3)):
                for b in range(BLOCKS[network][i]):
                    place = {"i": i, "n": i + 1, "k": i + 2, "b": b, "j": j}
                    named[ours.format(**place)] = (
                        layer.format(**place),
                        norm and norm.format(**place),
                    )
        return named

    def network(self, state: Mapping[str, object]) -> BackboneName:
        """Which of `BLOCKS` the state dict is of.

        Raises:
            ImportRefused: none; its blocks are counted.
        """
        layer, _ = self.layers["backbone.stages.{i}.{b}.conv{j}"]
        found = []
        for i in range(4):
            b = 0
            while layer.format(n=i + 1, k=i + 2, b=b, j=3) + ".weight" in state:
                b += 1
            found.append(b)
        for name, blocks in BLOCKS.items():
            if tuple(found) == blocks:
                return name
        raise ImportRefused(
            f"expected {self.model} with {' or '.join(map(str, BLOCKS.values()))} bottlenecks a stage,"
            f" got {tuple(found)}"
        )

    def num_classes(self, state: Mapping[str, object]) -> int:
        """C, counted by the rows of the class predictor.

        Raises:
            ImportRefused: there is none.
        """
        key = self.layers["roi.logits"][0] + ".weight"
        rows = state.get(key)
        if not isinstance(rows, Tensor) or rows.dim() != 2 or len(rows) < 2:
            raise ImportRefused(f"expected {self.model}, whose {key} has a row a class, got none")
        return len(rows) - 1

    def shapes(self, detector: Detector) -> dict[str, torch.Size]:
        """The keys and shapes of the state dict that would become `detector`."""
        ours = detector.state_dict()
        shapes = {}
        for name, (layer, norm) in self.names(detector.config.backbone.name).items():
            shapes[f"{layer}.weight"] = ours[f"{name}.weight"].shape
            if norm is None:
                shapes[f"{layer}.bias"] = ours[f"{name}.bias"].shape
            else:
                shapes |= {f"{norm}.{part}": ours[f"{name}.scale"].shape for part in NORM}
        if self.background == "first":
            boxes = self.layers["roi.deltas"][0]
            rows = torch.Size([4 * (1 + len(detector.class_names))])
            for key in (f"{boxes}.weight", f"{boxes}.bias"):
                shapes[key] = rows + shapes[key][1:]
        return shapes

    def check(self, state: Mapping[str, object], detector: Detector) -> State:
        """The tensors of `state`, which must be the state dict that would become `detector`.

        Raises:
            ImportRefused: keys are missing, surplus or of another shape; all are counted, the first named.
        """
        expected = self.shapes(detector)
        found = {key for key in state if not key.endswith(self.ignored)}
        missing, surplus = sorted(expected.keys() - found), sorted(found - expected.keys())
        wrong = [
            f"{key} {_shape(state[key])} instead of {tuple(expected[key])}"
            for key in sorted(expected.keys() & found)
            if _shape(state[key]) != tuple(expected[key])
        ]
        if missing or surplus or wrong:
            raise ImportRefused(
                f"expected {self.model} on {detector.config.backbone.name}: {len(missing)} tensors missing"
                f" {missing[:2]}, {len(surplus)} surplus {surplus[:2]}, {len(wrong)} of another shape {wrong[:2]}"
            )
        return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def weights_of(content: object, layout: Layout) -> dict[str, object]:
    """The state dict in a file's `content`, whatever training put around it.

    Raises:
        ImportRefused: there is none.
    """
    try:
        return state_dict_in(content, f"{layout.layers['rpn.logits'][0]}.weight")
    except NoStateDict as error:
        raise ImportRefused(f"expected {layout.model}: {error}") from None


def named_classes(
    count: int, given: tuple[str, ...], published: tuple[str, ...]
) -> tuple[str, ...]:
    """The names of `count` classes: those `given`, if any, else the `published` file's.

    Raises:
        ImportRefused: they are not as many, or one cannot be a name.
    """
    names = given or published
    if len(names) != count:
        remedy = "" if given else "; name the weights' classes with --classes FILE, one a line"
        raise ImportRefused(f"expected names for {count} classes, got {len(names)}{remedy}")
    wrong = fault_of(names)
    if wrong:
        raise ImportRefused(wrong)
    return names


def imported(
    layout: Layout, state: Mapping[str, object], config: DetectorConfig, names: tuple[str, ...]
) -> Detector:
    """The detector that gives the answers of `state`, on the CPU and in evaluation mode.

    Raises:
        ImportRefused: `state` is not the state dict of such a detector.
    """
    _require_anchors(layout, state, config)
    detector = Detector(config, names)
    tensors = layout.check(state, detector)
    detector.load_state_dict(convert(layout, tensors, config))
    return detector.eval()


def _require_anchors(layout: Layout, state: Mapping[str, object], config: DetectorConfig) -> None:
    """Refuses weights of another number of anchors than the settings have; sizes and ratios show in no tensor."""
    key = f"{layout.layers['rpn.logits'][0]}.weight"
    rows, ratios = _shape(state.get(key)), config.anchors.ratios
    if rows and rows[0] != len(ratios):
        raise ImportRefused(
            f"{key} has {rows[0]} anchors a cell, the settings {len(ratios)}, of the ratios {ratios}: give the"
            " model's own with --ratios (and --anchors, which no tensor shows)"
        )


def convert(layout: Layout, state: State, config: DetectorConfig) -> State:
    """The state dict of our detector that gives the answers of `state`, float32; `state` must pass `Layout.check`.

    Raises:
        ImportRefused: a weight is not finite, or a norm divides by zero.
    """
    converted = {}
    for ours, (layer, norm) in layout.names(config.backbone.name).items():
        converted[f"{ours}.weight"] = state[f"{layer}.weight"].float()
        if norm is None:
            converted[f"{ours}.bias"] = state[f"{layer}.bias"].float()
        else:
            scale, shift = _folded([state[f"{norm}.{part}"] for part in NORM], config)
            converted |= {f"{ours}.scale": scale, f"{ours}.shift": shift}
    if layout.background == "first":
        for part in ("weight", "bias"):
            converted[f"roi.logits.{part}"] = converted[f"roi.logits.{part}"].roll(-1, dims=0)
            converted[f"roi.deltas.{part}"] = converted[f"roi.deltas.{part}"][4:]
    broken = [name for name, tensor in converted.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ImportRefused(
            f"{len(broken)} tensors are not finite, the first is {broken[0]}; a variance of 0 asks for a norm epsilon"
            f" above {config.backbone.norm_epsilon}"
        )
    return {name: tensor.contiguous() for name, tensor in converted.items()}


def _folded(norm: list[Tensor], config: DetectorConfig) -> tuple[Tensor, Tensor]:
    """`FrozenNormConv2d`'s scale and shift, computed in float64: a variance may be tiny and the epsilon 0."""
    weight, bias, mean, variance = (part.double() for part in norm)
    scale = weight / torch.sqrt(variance + config.backbone.norm_epsilon)
    return scale.float(), (bias - mean * scale).float()


def _shape(value: object) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None
