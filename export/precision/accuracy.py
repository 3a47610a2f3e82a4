"""The accuracy gate: what int8 costs, measured on the file that is to be served.

An int8 graph answers a little differently from the float32 one by design, so it is judged by what its answers are
worth: COCO's AP (0.50:0.95) and AP50 on a validation set must each be at most half a point below float32's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from torch import Tensor

from export.graph import feed
from export.measured import Measured, measured_of
from export.precision.ranges import quiet_session
from export.runtime import onnxruntime
from model.config.detector import DetectorConfig
from model.data.coco import CocoDataset
from model.evaluation.evaluation import Evaluation, evaluate
from model.evaluation.feeding import Loading
from model.network.detector import Detections, Detector

# Points of 100.
LARGEST_DROP = 0.5
GATED = ("AP", "AP50")


class AccuracyError(ValueError):
    """An artifact that finds less than it may; the message says what was measured."""


@dataclass(frozen=True)
class GraphDetector:
    """A graph in ONNX Runtime that evaluation takes for the detector that it came from."""

    session: onnxruntime.InferenceSession
    detector: Detector

    @classmethod
    def of(cls, model: onnx.ModelProto, detector: Detector) -> "GraphDetector":
        """`model` on the CPU."""
        return cls(quiet_session(model), detector)

    @property
    def config(self) -> DetectorConfig:
        """The detector's."""
        return self.detector.config

    @property
    def class_names(self) -> tuple[str, ...]:
        """The detector's."""
        return self.detector.class_names

    @property
    def level_names(self) -> tuple[str, ...]:
        """The detector's."""
        return self.detector.level_names

    @property
    def device(self) -> torch.device:
        """The CPU, whatever the session computes on: it takes arrays from there."""
        return torch.device("cpu")

    def detect(self, images: Tensor, sizes: Tensor) -> Detections:
        """What the graph finds, as `Detector.detect`."""
        answers = self.session.run(None, feed(images, sizes))
        return Detections(*(torch.from_numpy(answer) for answer in answers))


class Verdict(NamedTuple):
    """Of a lowered graph.

    Attributes:
        report: what it reaches beside float32, in points of 100, for the manifest.
        missed: what of it misses the gate, a phrase each.
        measured: all of it, for the manifest; None if that was not asked for.
    """

    report: Mapping[str, float | int]
    missed: Sequence[str]
    measured: Measured | None = None


@dataclass(frozen=True)
class AccuracyGate:
    """The validation set, and what float32 reaches on it.

    Attributes:
        dataset: images and ground truth.
        float32: name -> figure in 0..1, of GATED.
        largest_drop: points of 100 that each may be below.
    """

    dataset: CocoDataset
    float32: Mapping[str, float]
    largest_drop: float = LARGEST_DROP

    @classmethod
    def of(
        cls,
        model: onnx.ModelProto,
        detector: Detector,
        data: tuple[Path, Path],
        largest_drop: float = LARGEST_DROP,
    ) -> "AccuracyGate":
        """The gate for graphs made of the float32 `model`; `data` is a COCO json and its folder of images.

        Raises:
            DataError: the data cannot be used, or has other classes.
        """
        dataset = CocoDataset.read(*data)
        return cls(dataset, _gated(_evaluated(model, detector, dataset)), largest_drop)

    def verdict(self, model: onnx.ModelProto, detector: Detector) -> Verdict:
        """How `model` compares with float32."""
        evaluation = _evaluated(model, detector, self.dataset)
        reached = _gated(evaluation)
        values: dict[str, float | int] = {"images": len(self.dataset)}
        for name in GATED:
            values[name] = round(100 * reached[name], 2)
            values[f"{name}_float32"] = round(100 * self.float32[name], 2)
        measured = measured_of(evaluation.as_json(), detector.class_names, detector.level_names)
        return Verdict(values, faults(values, self.largest_drop), measured)


def faults(report: Mapping[str, float | int], largest_drop: float = LARGEST_DROP) -> list[str]:
    """What misses the gate, a phrase each; none when it passes."""
    return [
        f"{name} is {report[name]:.2f}, float32's {report[f'{name}_float32']:.2f}"
        for name in GATED
        if report[f"{name}_float32"] - report[name] > largest_drop + 1e-9
    ]


def _evaluated(model: onnx.ModelProto, detector: Detector, dataset: CocoDataset) -> Evaluation:
    return evaluate(GraphDetector.of(model, detector), dataset, Loading(batch_size=1))


def _gated(evaluation: Evaluation) -> dict[str, float]:
    return {name: getattr(evaluation.metrics, name) for name in GATED}
