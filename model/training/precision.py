"""In which numbers the network is computed in training; its weights, the losses and the boxes are float32 in any case.

`auto` takes 16 bits only where they are computed in, not emulated:

    CUDA   float16, whose losses are scaled: every GPU since Volta has it, bfloat16 only those since Ampere
    CPU    bfloat16 with one of `BFLOAT16_INSTRUCTIONS`, else float32
"""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from model.config.training import PrecisionName

logger = logging.getLogger(__name__)

# Products of bfloat16 pairs on x86, by their names in `torch.cpu.get_capabilities()`.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")

# Seconds a step of voc-mobilenetv2 on two cores of an AMD EPYC with AVX2 alone.
_EMULATED_S, _FLOAT32_S = 16.7, 1.18


@dataclass(frozen=True)
class Precision:
    """The numbers of the network's forward and backward pass.

    Attributes:
        name: of their type, as torch has it.
        why: they and no others.
    """

    name: Literal["float32", "bfloat16", "float16"]
    why: str

    def __str__(self) -> str:
        """Both, as in `float32 (precision = "float32")`."""
        return f"{self.name} ({self.why})"

    @property
    def scaled(self) -> bool:
        """Whether gradients are scaled: those of float16 would vanish."""
        return self.name == "float16"

    def autocast(self, device: torch.device) -> AbstractContextManager[None]:
        """Within it the network on `device` is computed in these numbers."""
        mixed = self.name != "float32"
        dtype = getattr(torch, self.name) if mixed else None
        return torch.autocast(device.type, dtype=dtype, enabled=mixed)


def precision_for(
    asked: PrecisionName, device: str, instructions: Mapping[str, object] | None = None
) -> Precision:
    """What `asked` comes to on `device`; logged, with a warning where it is slow.

    Args:
        asked: the run's setting.
        device: "cpu", "cuda" or "cuda:1".
        instructions: name -> whether the CPU has it; None asks this machine's.
    """
    precision = _precision(asked, torch.device(device).type, instructions)
    logger.info("precision: %s", precision)
    return precision


def _precision(
    asked: PrecisionName, kind: str, instructions: Mapping[str, object] | None
) -> Precision:
    by_hand = f'precision = "{asked}"'
    if asked == "float32":
        return Precision("float32", by_hand)
    if kind == "cuda":
        return Precision("float16", "CUDA computes in it" if asked == "auto" else by_hand)
    if instructions is None:
        instructions = torch.cpu.get_capabilities()
    found = [name for name in BFLOAT16_INSTRUCTIONS if instructions.get(name)]
    if asked == "auto":
        if found:
            return Precision("bfloat16", f"this CPU computes in it: {found[0]}")
        return Precision("float32", f"this CPU has none of {', '.join(BFLOAT16_INSTRUCTIONS)}")
    if not found:
        logger.warning(
            "%s: this CPU has none of %s and emulates bfloat16: %.0f times slower than float32 where it was measured"
            " (%s s a step against %s s). auto takes float32 here",
            by_hand,
            ", ".join(BFLOAT16_INSTRUCTIONS),
            _EMULATED_S / _FLOAT32_S,
            _EMULATED_S,
            _FLOAT32_S,
        )
    return Precision("bfloat16", by_hand)
