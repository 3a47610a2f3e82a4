"""What a detector finds in the images of a data set, image by image.

N      images of a batch     H, W   their bucket
"""

from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from model.config.detector import DetectorConfig
from model.config.resize import ResizeRule, Size
from model.data.coco import CocoDataset, Record
from model.evaluation.feeding import Loading, frame_batches
from model.network.detections import FinalBoxes
from model.network.detector import Detections

Found = TypeVar("Found", Detections, FinalBoxes)


class Evaluable(Protocol):
    """What evaluation needs of a detector."""

    @property
    def config(self) -> DetectorConfig:
        """Its settings, of which the resize rule is used here."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of its classes; index = label."""

    @property
    def level_names(self) -> tuple[str, ...]:
        """The names of the levels that it proposes on, finest first."""

    @property
    def device(self) -> torch.device:
        """Where it computes, and so where it takes images."""

    def detect(self, images: Tensor, sizes: Tensor) -> Detections:
        """The detections in `images` uint8 [N, 3, H, W] of content `sizes` int64 [N, 2]."""


class Finding(NamedTuple, Generic[Found]):
    """What was found in one image.

    `found` is its part of a batch's detections, without N and on the CPU; its boxes are in
    pixels of the frame, where the image has the size `content`.
    """

    record: Record
    content: Size
    found: Found


def findings(
    detector: Evaluable, dataset: CocoDataset, resize: ResizeRule, loading: Loading
) -> Iterator[Finding[Detections]]:
    """Yields what the detector, in evaluation mode, finds in every image, in no certain order.

    Raises:
        DataError: an image cannot be decoded.
    """
    for frames in frame_batches(dataset, resize, loading):
        with torch.inference_mode():
            batch = detector.detect(*frames.on(detector.device))
        batch = Detections(*(values.cpu() for values in batch))
        for row, (index, content) in enumerate(zip(frames.indices, frames.contents, strict=True)):
            found = Detections(*(values[row] for values in batch))
            yield Finding(dataset.records[index], content, found)
