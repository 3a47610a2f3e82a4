"""The manifest: what a server must know of an artifact and cannot read from its graph (docs/architecture.md)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx

from export.graph import OPSET
from model.detector import Detector
from model.fpn import LEVELS, STRIDES

SCHEMA = 1
KEY = "manifest"


@dataclass(frozen=True)
class Provenance:
    """What the weights cannot tell of themselves.

    Attributes:
        name: of the model, as clients see it.
        version: any text; empty means the first 12 hex digits of the SHA-256 of the weights.
        license, data: of the weights.
        accuracy: metric name -> value, as measured on the checkpoint; empty when not measured.
    """

    name: str
    version: str = ""
    license: str = ""
    data: str = ""
    accuracy: Mapping[str, float] = field(default_factory=dict)


def manifest(
    detector: Detector, provenance: Provenance, parity: Mapping[str, float | int]
) -> dict[str, object]:
    """The manifest of `detector`'s artifact, plain values, every key of the contract."""
    config = detector.config
    return {
        "schema": SCHEMA,
        "name": provenance.name,
        "version": provenance.version or weights_digest(detector),
        "classes": list(detector.class_names),
        "levels": [
            {"name": f"P{level}", "stride": stride}
            for level, stride in zip(LEVELS, STRIDES, strict=True)
        ],
        "resize": {
            "short_side": config.resize.short_side,
            "max_side": config.resize.max_side,
            "rounding": "round",
            "interpolation": "pillow-bilinear",
        },
        "buckets": [list(frame) for frame in config.resize.buckets],
        "precision": "float32",
        "opset": OPSET,
        "thresholds": {
            "score": config.roi.score_threshold,
            "nms": config.roi.nms_iou,
            "proposal_nms": config.rpn.nms_iou,
        },
        "max_detections": config.roi.max_detections,
        "max_proposals": min(config.rpn.pre_nms_test, config.rpn.post_nms_test),
        "weights": {"license": provenance.license, "data": provenance.data},
        "accuracy": dict(provenance.accuracy),
        "parity": dict(parity),
    }


def described(model: onnx.ModelProto, content: Mapping[str, object]) -> onnx.ModelProto:
    """A copy of `model` whose metadata is the manifest `content`, and nothing else."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.metadata_props[:]
    copy.metadata_props.add(key=KEY, value=json.dumps(content))
    return copy


def weights_digest(detector: Detector) -> str:
    """12 hex digits that name the weights: the start of the SHA-256 of every tensor, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(detector.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
