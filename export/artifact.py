"""From a checkpoint to a served file: trace, write aside, compare with torch, lower, judge, describe, rename.

A file that was not judged does not get its name: an artifact that misses its gate leaves nothing behind. float32 and
float16 are judged by parity with torch, int8 by accuracy on a validation set (accuracy.py) after its float32 graph
has passed parity.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from export.golden import Photograph, golden
from export.graph import feed, missing_weights, trace, with_plain_convolutions
from export.manifest import Judgement, Made, Precision, Provenance, Stored, described, manifest
from export.parity import (
    FLOAT16,
    ParityError,
    ParityReport,
    Reference,
    Tolerance,
    compare,
    reference,
    require,
)
from export.photographs import framed
from export.precision.accuracy import LARGEST_DROP, AccuracyGate
from export.precision.half import halved
from export.precision.kept_layers import KEPT, least_kept, unjudged
from export.precision.quantise import Quantizer
from export.runtime import onnxruntime
from export.storage import stored_in_halves
from model.errors import Refused
from model.network.detector import Detector
from model.network.halves import with_halved_weights
from model.network.pooling import MAX_SIDE

logger = logging.getLogger(__name__)


class UnfitDetector(Refused):
    """A detector that can be trained and evaluated, but that no artifact can hold; the message says why."""


@dataclass(frozen=True)
class Order:
    """What artifact is wanted, and what it is judged on.

    Attributes:
        precision: of the network.
        stored: the type of large float weights in the file.
        photographs: compared with torch beside the made images.
        golden: photographs that the file carries with its answers.
        calibration: photographs for int8's ranges.
        evaluation: a COCO json and its folder of images for int8's accuracy gate; None switches the gate off, and the
            KEPT_UNJUDGED most sensitive runs stay in float32.
        largest_drop: points of 100 that int8 may lose of each gated figure.
        kept: how many runs of layers may stay in float32, tried in this order after none.
    """

    precision: Precision = "float32"
    stored: Stored = "float32"
    photographs: Sequence[Path] = ()
    golden: Sequence[Photograph] = ()
    calibration: Sequence[Path] = ()
    evaluation: tuple[Path, Path] | None = None
    largest_drop: float = LARGEST_DROP
    kept: Sequence[int] = KEPT


@dataclass(frozen=True)
class Outcome:
    """What was found of an artifact that was written.

    Attributes:
        reports: of the comparisons with torch, by what was compared: "float32" the graph as traced, "stored" what
            float16 keeps of the weights with the weights themselves, "float16" what computes in it.
        made: what became of the graph.
    """

    reports: Mapping[str, ParityReport]
    made: Made

    def parity(self) -> dict[str, object]:
        """For the manifest: the figures of the graph, and under "stored" what its weights' rounding changes, if any."""
        graph = self.reports.get("float16", self.reports["float32"])
        figures: dict[str, object] = {**graph.values()}
        if "stored" in self.reports:
            figures["stored"] = self.reports["stored"].values()
        return figures


def write_artifact(
    detector: Detector, path: Path, provenance: Provenance, order: Order | None = None
) -> Outcome:
    """Export `detector` to `path` and return what was found.

    Args:
        detector: on the CPU, in evaluation mode.
        path: of the ONNX file; an older one there is replaced at once, or not at all.
        provenance: what the manifest says beside the configuration.
        order: what is wanted; float32 by default.

    Raises:
        UnfitDetector: a stage is untrained, its frames are too large, or its pooling has no operator in the graph.
        ParityError: the graph does not hold the detector's weights, or does not answer as it does.
        AccuracyError: int8 finds too much less than float32.
        DataError: an image or the validation set cannot be used.
    """
    require_servable(detector)
    order = order or Order()
    traced = None
    if order.stored == "float16":
        traced = with_halved_weights(with_plain_convolutions(detector))
    model = trace(traced or detector)
    return finish_artifact(model, detector, path, provenance, order, traced)


def require_servable(detector: Detector) -> None:
    """Refuse what the artifact's contract (docs/artifact.md) has no place for.

    Raises:
        UnfitDetector: so it is.
    """
    if detector.untrained:
        raise UnfitDetector(
            f"expected a detector with both stages trained, but {', '.join(sorted(detector.untrained))} is not: this"
            " is the checkpoint of one stage"
        )
    roi = detector.config.roi
    largest = max(max(frame) for frame in detector.config.resize.buckets)
    if largest > MAX_SIDE:
        raise UnfitDetector(
            f"expected buckets of at most {MAX_SIDE} pixels a side, got one of {largest}: the graph's order of pooling"
            " reaches no further; train with a smaller resize.max_side"
        )
    if roi.pooling != "align":
        raise UnfitDetector(
            f"expected roi.pooling 'align', got {roi.pooling!r}: RoIPool is for training and evaluation only"
        )


def finish_artifact(
    model: onnx.ModelProto,
    detector: Detector,
    path: Path,
    provenance: Provenance,
    order: Order | None = None,
    traced: Detector | None = None,
) -> Outcome:
    """The second half of `write_artifact`: judge a traced `model`, then name it.

    Args:
        model: the graph of `traced`.
        detector: the checkpoint's.
        path: as in `write_artifact`.
        provenance: as in `write_artifact`.
        order: as in `write_artifact`.
        traced: `detector` with the weights that are stored, where those are others.
    """
    order = order or Order()
    missing = missing_weights(traced or detector, model)
    if missing:
        raise ParityError(
            f"the graph does not hold the weights of {len(missing)} tensors: {missing[:3]}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        reports = _compared(model, detector, traced, temporary, order)
        model, judgement = _lowered(model, detector, order)
        model = _as_stored(model, order)
        seen = golden(model, detector.config.resize, order.precision, order.golden)
        stored: Stored = "float16" if order.precision == "float16" else order.stored
        outcome = Outcome(reports, Made(order.precision, stored, judgement, seen))
        content = manifest(detector, provenance, outcome.parity(), outcome.made)
        onnx.save(described(model, content), temporary)
        onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return outcome


def _as_stored(model: onnx.ModelProto, order: Order) -> onnx.ModelProto:
    return stored_in_halves(model) if order.stored == "float16" else model


def _compared(
    model: onnx.ModelProto,
    detector: Detector,
    traced: Detector | None,
    temporary: Path,
    order: Order,
) -> dict[str, ParityReport]:
    """What the comparisons found, by what was compared; each has passed.

    The float32 graph with the detector whose weights it holds; where these are rounded, with the checkpoint's, too; and
    the float16 graph.
    """
    onnx.save(_as_stored(model, order), temporary)
    expected = reference(traced or detector, order.photographs)
    reports = {"float32": _passed(expected, temporary, expected.float32)}
    if traced is not None:
        expected = expected.of(detector)
        reports["stored"] = _passed(expected, temporary, FLOAT16)
    if order.precision == "float16":
        onnx.save(halved(model), temporary)
        reports["float16"] = _passed(expected, temporary, FLOAT16)
    return reports


def _passed(expected: Reference, model: Path, tolerance: Tolerance) -> ParityReport:
    report = compare(expected, model, tolerance)
    require(report, tolerance)
    return report


def _lowered(
    model: onnx.ModelProto, detector: Detector, order: Order
) -> tuple[onnx.ModelProto, Judgement]:
    """The model in the precision that is wanted."""
    if order.precision == "int8":
        return _accurate_int8(model, detector, order)
    return (halved(model) if order.precision == "float16" else model), Judgement()


def _accurate_int8(
    model: onnx.ModelProto, detector: Detector, order: Order
) -> tuple[onnx.ModelProto, Judgement]:
    """The int8 model with as few layers in float32 as the gate allows, or with KEPT_UNJUDGED runs if there is none."""
    feeds = [
        feed(images, sizes) for images, sizes in framed(order.calibration, detector.config.resize)
    ]
    quantizer = Quantizer(model, feeds)
    if order.evaluation is None:
        return unjudged(quantizer)
    gate = AccuracyGate.of(model, detector, order.evaluation, order.largest_drop)
    return least_kept(quantizer, lambda lowered: gate.verdict(lowered, detector), order.kept)
