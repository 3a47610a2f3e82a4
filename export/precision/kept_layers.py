"""How many layers an int8 model leaves in float32: as few as its accuracy allows."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import onnx

from export.manifest import Judgement
from export.precision.accuracy import AccuracyError, Verdict

logger = logging.getLogger(__name__)

# Where int8 misses the accuracy gate, so many of the most sensitive runs of layers stay in float32: tried in this order
# until it passes.
KEPT = (2, 4, 6, 8, 12, 16)
# As many where nothing is judged: of the default model they take away three fourths of int8's error, and cost no time.
KEPT_UNJUDGED = 2


class Lowering(Protocol):
    """What makes int8 models: a `Quantizer`."""

    def quantised(self, kept: Sequence[str] = ()) -> onnx.ModelProto:
        """The model with the layers `kept` in float32."""

    def most_sensitive(self) -> list[tuple[str, ...]]:
        """Runs of layers, the most sensitive first."""


def unjudged(lowering: Lowering) -> tuple[onnx.ModelProto, Judgement]:
    """The int8 model that nobody judges: its KEPT_UNJUDGED most sensitive runs stay in float32."""
    kept = _layers(_ranked(lowering)[:KEPT_UNJUDGED])
    return lowering.quantised(kept), Judgement("off", float_layers=kept)


def least_kept(
    lowering: Lowering,
    judge: Callable[[onnx.ModelProto], Verdict],
    counts: Sequence[int] = KEPT,
) -> tuple[onnx.ModelProto, Judgement]:
    """The first of the int8 models, with ever more layers in float32, that passes.

    Args:
        lowering: makes them.
        judge: what it measures of one, and what misses the gate.
        counts: of runs that stay in float32, after none.

    Raises:
        AccuracyError: none passes.
    """
    for kept in _ever_more(lowering, counts):
        lowered = lowering.quantised(kept)
        report, missed, measured = judge(lowered)
        logger.info("int8 with %d layers in float32: %s", len(kept), "; ".join(missed) or report)
        if not missed:
            return lowered, Judgement("accuracy", report, kept, measured)
    raise AccuracyError(
        f"int8 misses the accuracy gate even with the {len(kept)} most sensitive layers in float32:"
        f" {'; '.join(missed)}. Calibrate on photographs like those that are served, or stay with float32"
    )


def _ever_more(lowering: Lowering, counts: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """What to leave in float32: nothing, then ever more; what is sensitive is measured when it is asked for."""
    yield ()
    runs = _ranked(lowering) if counts else []
    for count in counts:
        yield _layers(runs[:count])
        if count >= len(runs):
            return


def _ranked(lowering: Lowering) -> list[tuple[str, ...]]:
    logger.info("measuring which layers are sensitive")
    return lowering.most_sensitive()


def _layers(runs: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(layer for run in runs for layer in run)
