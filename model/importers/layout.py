"""How other projects name and lay out the tensors of a Faster R-CNN, and their way into ours.

A table maps each of our layers to (their layer, their batch norm), the first pattern that fits. Tensors are laid out
alike (channels first, a region's features flattened as (channel, row, column), anchors of a cell together), but for
three things: frozen batch norms become our `scale` and `shift`, the background's row of the class predictor may come
first, and of a cell's anchors of several sizes the ratios may come first.

Legend
    i       0..3, for C2..C5 or P2..P5; `n` is i + 1 and `k` is i + 2 in other projects' counting
    b       block of a stage            j       convolution of a block, 1..3
    f rest  what stands for itself      C       foreground classes
"""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from model.config.class_names import fault_of
from model.config.detector import BackboneName, DetectorConfig
from model.errors import Refused
from model.importers.resnets import NETWORKS, ResNetShape
from model.network.detector import Detector
from model.network.frozen_norm import FrozenNormConv2d
from model.network.state_dicts import NoStateDict, state_dict_in

# The names of classes that nobody knows: COCO's where they are as many, else numbers.
UNNAMED = ("\0",)
NORM = ("weight", "bias", "running_mean", "running_var")
State = dict[str, Tensor]
logger = logging.getLogger(__name__)


class ImportRefused(Refused):
    """Weights that cannot be taken over; the message, one line, says what was expected and what came."""


@dataclass(frozen=True)
class Layout:
    """One project's names and order.

    Attributes:
        model: whose weights, for messages.
        layers: pattern of our layer -> patterns of their layer and of its norm.
        background: where the class predictor has its background row. First, the box predictor has rows for it too.
        first_anchors: of a cell's anchors, whether all ratios of a size come first, or all sizes of a ratio.
        ignored: suffixes of keys that carry no weights.
        left: prefix of what is not taken -> what it is.
    """

    model: str
    layers: Mapping[str, tuple[str, str]]
    background: Literal["first", "last"]
    first_anchors: Literal["ratios", "sizes"] = "ratios"
    ignored: tuple[str, ...] = ("num_batches_tracked",)
    left: Mapping[str, str] = field(default_factory=dict)

    def names(self, detector: Detector) -> dict[str, tuple[str, str | None]]:
        """Each layer of `detector` that has weights -> (their layer, their norm, if it has one)."""
        named: dict[str, tuple[str, str | None]] = {}
        for name, module in detector.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                layer, norm = self.theirs(name)
                named[name] = layer, norm if isinstance(module, FrozenNormConv2d) else None
        return named

    def theirs(self, name: str) -> tuple[str, str]:
        """Their layer and norm for our layer `name`, which the table must have."""
        for pattern, (layer, norm) in self.layers.items():
            found = _expression(pattern).fullmatch(name)
            if found:
                place: dict[str, object] = dict(found.groupdict())
                if "i" in place:
                    i = int(found["i"])
                    place |= {"i": i, "n": i + 1, "k": i + 2}
                return layer.format(**place), norm.format(**place)
        raise AssertionError(f"{self.model}: the table has no {name}")

    def network(self, state: Mapping[str, object]) -> BackboneName:
        """Which of `NETWORKS` the state dict is of.

        Raises:
            ImportRefused: none; what it has is counted.
        """

        def key(i: int, b: int, j: int) -> str:
            return self.theirs(f"backbone.stages.{i}.{b}.conv{j}")[0] + ".weight"

        blocks = []
        for i in range(4):
            b = 0
            while key(i, b, 2) in state or f"roi_heads.res{i + 2}.{b}.conv2.weight" in state:
                b += 1
            blocks.append(b)
        middle = _shape(state.get(key(0, 0, 2))) or (0, 1)
        convolutions = 3 if key(0, 0, 3) in state else 2
        grouped = middle[0] // max(middle[1], 1)
        found = ResNetShape(tuple(blocks), convolutions, grouped, middle[1])
        for name, network in NETWORKS.items():
            if found == network:
                return name
        raise ImportRefused(
            f"expected {self.model} on {', '.join(NETWORKS)}, got blocks {found.blocks} of {convolutions} convolutions,"
            f" {found.groups} groups of {found.width} channels in the first stage"
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
        for name, (layer, norm) in self.names(detector).items():
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
        prefixes = tuple(self.left)
        found = {
            key
            for key in state
            if not key.endswith(self.ignored) and not (prefixes and key.startswith(prefixes))
        }
        missing, surplus = sorted(expected.keys() - found), sorted(found - expected.keys())
        wrong = [
            f"{key} {_shape(state[key])} instead of {tuple(expected[key])}"
            for key in sorted(expected.keys() & found)
            if _shape(state[key]) != tuple(expected[key])
        ]
        if missing or surplus or wrong:
            raise ImportRefused(
                f"expected {self.model} on {detector.config.backbone.name}: {len(missing)} tensors missing"
                f" {missing[:2]}, {len(surplus)} surplus {surplus[:2]}, {len(wrong)} of another shape {wrong[:2]};"
                " give the settings that it was built with (--set KEY=VALUE)"
            )
        return {key: state[key] for key in expected}  # type: ignore[misc]

    def told(self, state: Mapping[str, object]) -> str:
        """What of `state` is taken and what is left, for people."""
        left = Counter(
            what for key in state for prefix, what in self.left.items() if key.startswith(prefix)
        )
        taken = len(state) - left.total()
        return f"took {taken} tensors, left " + (
            ", ".join(f"{count} of the {what}" for what, count in left.items()) or "none"
        )


def _expression(pattern: str) -> re.Pattern[str]:
    """The places in `pattern` are numbers, but for `rest`, which is any name."""
    text = re.escape(pattern).replace(r"\{rest\}", "(?P<rest>.+)")
    return re.compile(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\d+)", text))


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
    """The names of `count` classes: those `given`, if any, else the `published` file's; numbers where UNNAMED.

    Raises:
        ImportRefused: they are not as many, or one cannot be a name.
    """
    if given == UNNAMED:
        return published if len(published) == count else tuple(f"class {i}" for i in range(count))
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
    detector.load_state_dict(convert(layout, tensors, detector))
    logger.info(layout.told(state))
    return detector.eval()


def _require_anchors(layout: Layout, state: Mapping[str, object], config: DetectorConfig) -> None:
    """Refuses weights of another number of anchors than the settings have; sizes and ratios show in no tensor."""
    key = f"{layout.layers['rpn.logits'][0]}.weight"
    rows, ratios = _shape(state.get(key)), config.anchors.ratios
    sizes = _sizes_a_cell(config)
    if rows and rows[0] != sizes * len(ratios):
        raise ImportRefused(
            f"{key} has {rows[0]} anchors a cell, the settings {sizes * len(ratios)}, of {sizes} sizes and the ratios"
            f" {ratios}: give the model's own with --ratios (and --anchors, which no tensor shows)"
        )


def _sizes_a_cell(config: DetectorConfig) -> int:
    single = config.pyramid.kind not in ("fpn", "bottom_up", "no_lateral")
    return len(config.anchors.sizes) if single or config.anchors.shared else 1


def convert(layout: Layout, state: State, detector: Detector) -> State:
    """The state dict of `detector` that gives the answers of `state`, float32; `state` must pass `Layout.check`.

    Raises:
        ImportRefused: a weight is not finite, or a norm divides by zero.
    """
    config, converted = detector.config, {}
    for ours, (layer, norm) in layout.names(detector).items():
        converted[f"{ours}.weight"] = state[f"{layer}.weight"].float()
        if norm is None:
            converted[f"{ours}.bias"] = state[f"{layer}.bias"].float()
        else:
            scale, shift = _folded([state[f"{norm}.{part}"] for part in NORM], config)
            converted |= {f"{ours}.scale": scale, f"{ours}.shift": shift}
    for part in ("weight", "bias"):
        if layout.background == "first":
            converted[f"roi.logits.{part}"] = converted[f"roi.logits.{part}"].roll(-1, dims=0)
            converted[f"roi.deltas.{part}"] = converted[f"roi.deltas.{part}"][4:]
        if layout.first_anchors == "sizes":
            for layer in ("logits", "deltas"):
                key = f"rpn.{layer}.{part}"
                converted[key] = _by_size(converted[key], config)
    broken = [name for name, tensor in converted.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ImportRefused(
            f"{len(broken)} tensors are not finite, the first is {broken[0]}; a variance of 0 asks for a norm epsilon"
            f" above {config.backbone.norm_epsilon}"
        )
    return {name: tensor.contiguous() for name, tensor in converted.items()}


def _by_size(rows: Tensor, config: DetectorConfig) -> Tensor:
    """`rows` [ratios * sizes * n, ...] of a cell's anchors with all ratios of a size together."""
    ratios, sizes = len(config.anchors.ratios), _sizes_a_cell(config)
    parted = rows.reshape(ratios, sizes, -1, *rows.shape[1:])
    return parted.transpose(0, 1).reshape(rows.shape)


def _folded(norm: list[Tensor], config: DetectorConfig) -> tuple[Tensor, Tensor]:
    """`FrozenNormConv2d`'s scale and shift, computed in float64: a variance may be tiny and the epsilon 0."""
    weight, bias, mean, variance = (part.double() for part in norm)
    scale = weight / torch.sqrt(variance + (config.backbone.norm_epsilon or 0.0))
    return scale.float(), (bias - mean * scale).float()


def _shape(value: object) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None
