"""The manifest: what a server must know of an artifact and cannot read from its graph (docs/artifact.md)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal

import onnx

from export.graph import OPSET
from export.measured import Measured
from model.network.detector import Detector
from model.network.pooling import MAX_IMAGES, MAX_SIDE

SCHEMA = 3
KEY = "manifest"
# Of int8's weights. Those of 7 would be exact in the fast kernels of every CPU, and cost more accuracy: decision 5.
WEIGHT_BITS = 8
# Every one is pooled and classified, as a proposal is.
MAX_REGIONS = 1000

Precision = Literal["float32", "float16", "int8"]
Stored = Literal["float32", "float16"]


@dataclass(frozen=True)
class Provenance:
    """What the weights cannot tell of themselves.

    Attributes:
        name: of the model, as clients see it.
        version: any text; empty means the first 12 hex digits of the SHA-256 of the weights.
        license, data, recipe, source: of the weights; `source` is what training began from.
        measured: on the checkpoint; empty when it was not.
    """

    name: str
    version: str = ""
    license: str = ""
    data: str = ""
    recipe: str = ""
    source: str = ""
    measured: Measured = field(default_factory=Measured)


@dataclass(frozen=True)
class Judgement:
    """How an artifact's precision was judged.

    Attributes:
        gate: "parity" (float32, float16), "accuracy" (int8), or "off" (int8 that nobody measured).
        report: what the accuracy gate measured, in points of 100.
        float_layers: the layers that int8 left in float32.
        measured: on the graph itself, which then stands for what was measured on the checkpoint.
    """

    gate: Literal["parity", "accuracy", "off"] = "parity"
    report: Mapping[str, float | int] = field(default_factory=dict)
    float_layers: tuple[str, ...] = ()
    measured: Measured | None = None


@dataclass(frozen=True)
class Made:
    """What became of the graph.

    Attributes:
        precision: of the network.
        stored: the type of its large float weights in the file.
        judgement: how the precision was judged.
        golden: photographs with the answers that were seen of it, if any (golden.py).
    """

    precision: Precision = "float32"
    stored: Stored = "float32"
    judgement: Judgement = field(default_factory=Judgement)
    golden: Mapping[str, object] | None = None


def manifest(
    detector: Detector,
    provenance: Provenance,
    parity: Mapping[str, object],
    made: Made | None = None,
) -> dict[str, object]:
    """The manifest of `detector`'s artifact, plain values, every key of the contract."""
    made = made or Made()
    measured = made.judgement.measured or provenance.measured
    config = detector.config
    return {
        "schema": SCHEMA,
        "name": provenance.name,
        "version": provenance.version or weights_digest(detector),
        "classes": list(detector.class_names),
        "category_ids": list(detector.category_ids),
        "levels": [
            {"name": name, "stride": 2**level}
            for name, level in zip(detector.level_names, detector.fpn.levels, strict=True)
        ],
        "resize": {
            "short_side": config.resize.short_side,
            "max_side": config.resize.max_side,
            "rounding": config.resize.rounding,
            "interpolation": config.resize.interpolation,
            "decoding": config.resize.decoding,
        },
        "buckets": [list(frame) for frame in config.resize.buckets],
        "precision": made.precision,
        "weight_bits": WEIGHT_BITS if made.precision == "int8" else None,
        "gate": _gate(made.judgement),
        "opset": OPSET,
        "suppression": {
            "score": config.roi.score_threshold,
            "nms": config.roi.nms_iou,
            "proposal_nms": config.rpn.nms_iou,
        },
        "limits": {"max_side": MAX_SIDE, "max_batch": MAX_IMAGES, "max_regions": MAX_REGIONS},
        "max_detections": _most_detections(detector),
        "max_proposals": min(config.rpn.pre_nms_test, config.rpn.post_nms_test),
        "weights": _weights(provenance, made.stored),
        "thresholds": measured.thresholds,
        "golden": made.golden,
        "reference": measured.reference,
        "accuracy": dict(measured.accuracy),
        "parity": dict(parity),
    }


def _gate(judged: Judgement) -> dict[str, object]:
    return {
        "kind": judged.gate,
        "report": dict(judged.report),
        "float_layers": list(judged.float_layers),
    }


def _weights(provenance: Provenance, stored: Stored) -> dict[str, str]:
    return {
        "license": provenance.license,
        "data": provenance.data,
        "recipe": provenance.recipe,
        "source": provenance.source,
        "date": datetime.now(UTC).date().isoformat(),
        "code": version("fpn-serve"),
        "stored": stored,
    }


def _most_detections(detector: Detector) -> int:
    """D of the artifact: what the limit on detections, on candidates, and the proposals leave."""
    rpn, roi = detector.config.rpn, detector.config.roi
    proposals = min(rpn.post_nms_test, len(detector.fpn.levels) * rpn.pre_nms_test)
    return min(roi.max_detections, roi.max_candidates, proposals * len(detector.class_names))


def described(model: onnx.ModelProto, content: Mapping[str, object]) -> onnx.ModelProto:
    """A copy of `model` whose metadata is the manifest `content`, and nothing else.

    The shapes that the tracer noted between the nodes go, too: whoever needs them infers them.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.metadata_props[:]
    del copy.graph.value_info[:]
    copy.metadata_props.add(key=KEY, value=json.dumps(content))
    return copy


def weights_digest(detector: Detector) -> str:
    """12 hex digits that name the weights: the start of the SHA-256 of every tensor, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(detector.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
