"""From a checkpoint to a served file: trace, write aside, compare with torch, describe, rename.

A file that was not compared does not get its name: an artifact that misses the gate leaves nothing behind.
"""

from collections.abc import Sequence
from pathlib import Path

import onnx
import onnxruntime

from export.graph import missing_weights, trace
from export.manifest import Provenance, described, manifest
from export.parity import ParityError, Report, compare, require
from model.detector import Detector
from model.fpn import LEVELS


class UnfitDetector(ValueError):
    """A detector that an artifact cannot hold; the message, one line, says which setting it is."""


def write_artifact(
    detector: Detector, path: Path, provenance: Provenance, photographs: Sequence[Path] = ()
) -> Report:
    """Export `detector` to `path` and return what the comparison found.

    Args:
        detector: on the CPU, in evaluation mode.
        path: of the ONNX file; an older one there is replaced at once, or not at all.
        provenance: what the manifest says beside the configuration.
        photographs: compared beside the made pictures.

    Raises:
        UnfitDetector: its features are not P2..P6, or its pooling has no operator in the graph.
        ParityError: the graph does not hold the detector's weights, or does not answer as it does; `path` is as
            it was.
    """
    require_servable(detector)
    return finish_artifact(trace(detector), detector, path, provenance, photographs)


def require_servable(detector: Detector) -> None:
    """Refuse what the artifact's contract (docs/architecture.md) has no place for.

    Raises:
        UnfitDetector: so it is.
    """
    if detector.untrained:
        raise UnfitDetector(
            f"expected a detector with both stages trained, but {', '.join(sorted(detector.untrained))} is not: this"
            " is the checkpoint of one stage"
        )
    pyramid, roi = detector.config.pyramid, detector.config.roi
    if detector.fpn.levels != LEVELS:
        raise UnfitDetector(
            f"an artifact holds proposals of P2..P6, but a detector of pyramid.kind {pyramid.kind!r} has those of"
            f" {len(detector.fpn.levels)} level; it can be trained and evaluated, not served"
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
    photographs: Sequence[Path] = (),
) -> Report:
    """The second half of `write_artifact`: compare a traced `model` with `detector`, then name it."""
    missing = missing_weights(detector, model)
    if missing:
        raise ParityError(
            f"the graph does not hold the weights of {len(missing)} tensors: {missing[:3]}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        onnx.save(model, temporary)
        report = compare(detector, temporary, photographs)
        require(report)
        onnx.save(described(model, manifest(detector, provenance, report.values())), temporary)
        onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return report
