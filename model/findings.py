"""What a detector finds in the pictures of a data set, as COCO results.

Pictures go through the detector as they do in the service: each is resized by a resize rule,
placed in the bucket that it alone decides, and batched with others of that bucket only. So the
batch size changes the speed and not the answers.

    N      images of a batch     H, W   their bucket
    D      detections an image   L, K   levels, and proposals of each
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from model.annotations import DataError
from model.coco import CocoDataset, Record
from model.config import DetectorConfig
from model.detector import Detections
from model.input_config import ResizeConfig
from model.transforms import Size, choose_bucket, letterbox, resize_image, resized_size, scale_boxes


class Evaluable(Protocol):
    """What evaluation needs of a detector; `mean` is on the device that it computes on."""

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
    def mean(self) -> Tensor:
        """The channel means of its normalisation."""

    def detect(self, images: Tensor, sizes: Tensor) -> Detections:
        """Return the detections in `images` uint8 [N, 3, H, W] of content `sizes` int64 [N, 2]."""


@dataclass(frozen=True)
class Loading:
    """How pictures are fed.

    Attributes:
        batch_size: pictures a batch at most.
        workers: processes that decode and resize; 0 means this one.
        progress: show a progress bar.
    """

    batch_size: int = 8
    workers: int = 0
    progress: bool = False


class Finding(NamedTuple):
    """What was found in one picture.

    `found` is its part of a batch's `Detections`, without N and on the CPU; its boxes are in
    pixels of the frame, where the picture has the size `content`.
    """

    record: Record
    content: Size
    found: Detections


class PhotoDetections(NamedTuple):
    """Detections in pixels of a photograph: boxes float32 [D, 4] xyxy, scores float32 [D], labels int64 [D]."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Frames(NamedTuple):
    """A batch of letterboxed pictures: `images` uint8 [N, 3, H, W], `sizes` int64 [N, 2].

    `indices` are the pictures' places in the data set.
    """

    indices: list[int]
    images: Tensor
    sizes: Tensor


def findings(
    detector: Evaluable, dataset: CocoDataset, resize: ResizeConfig, loading: Loading
) -> Iterator[Finding]:
    """Yield what the detector, in evaluation mode, finds in every picture, in no certain order.

    Raises:
        DataError: a picture cannot be decoded.
    """
    device = detector.mean.device
    with tqdm(total=len(dataset), unit="image", leave=False, disable=not loading.progress) as bar:
        for frames in frame_batches(dataset, resize, loading):
            with torch.inference_mode():
                batch = detector.detect(frames.images.to(device), frames.sizes.to(device))
            batch = Detections(*(values.cpu() for values in batch))
            for row, index in enumerate(frames.indices):
                content = (int(frames.sizes[row, 0]), int(frames.sizes[row, 1]))
                found = Detections(*(values[row] for values in batch))
                yield Finding(dataset.records[index], content, found)
            bar.update(len(frames.indices))


def category_ids(class_names: Sequence[str], dataset: CocoDataset) -> list[int]:
    """Return the data set's category id of each of the detector's labels, matched by name.

    Raises:
        DataError: the classes differ.
    """
    ids = dict(zip(dataset.class_names, dataset.category_ids, strict=True))
    if set(class_names) != ids.keys():
        raise DataError(
            "expected one set of classes, but only the detector has "
            f"{sorted(set(class_names) - ids.keys())} and only the data set "
            f"{sorted(ids.keys() - set(class_names))}"
        )
    return [ids[name] for name in class_names]


def in_photograph(finding: Finding) -> PhotoDetections:
    """Return a picture's detections, the real ones, in pixels of the photograph."""
    found, count = finding.found, int(finding.found.counts)
    boxes = scale_boxes(found.boxes[:count], finding.content, finding.record.size)
    return PhotoDetections(boxes, found.scores[:count], found.labels[:count])


def detection_results(
    record: Record, detections: PhotoDetections, categories: Sequence[int]
) -> list[dict[str, Any]]:
    """Return a picture's detections as COCO results; `categories` are the labels' ids."""
    boxes, scores, labels = _xywh(detections.boxes), *map(Tensor.tolist, detections[1:])
    return [
        {"image_id": record.image_id, "category_id": categories[label], "bbox": box, "score": score}
        for box, score, label in zip(boxes, scores, labels, strict=True)
    ]


def proposal_results(finding: Finding) -> list[list[dict[str, Any]]]:
    """Return a picture's proposals of each level as COCO results, but for their category."""
    found, record = finding.found, finding.record
    levels = []
    for level, count in enumerate(found.proposal_counts.tolist()):
        boxes = scale_boxes(found.proposal_boxes[level, :count], finding.content, record.size)
        scores = found.proposal_scores[level, :count].tolist()
        levels.append(
            [
                {"image_id": record.image_id, "bbox": box, "score": score}
                for box, score in zip(_xywh(boxes), scores, strict=True)
            ]
        )
    return levels


def _xywh(boxes: Tensor) -> list[list[float]]:
    corners, far_corners = boxes[:, :2], boxes[:, 2:]
    listed: list[list[float]] = torch.cat((corners, far_corners - corners), dim=1).tolist()
    return listed


class _FramedPictures(Dataset[tuple[int, Tensor, Size]]):
    """The pictures of a data set as the detector takes them: index, pixels [3, H, W], size."""

    def __init__(self, dataset: CocoDataset, resize: ResizeConfig) -> None:
        self.dataset = dataset
        self.resize = resize

    def __getitem__(self, index: int) -> tuple[int, Tensor, Size]:
        image, _, _ = self.dataset.load(index)
        size = _content_size(self.dataset.records[index], self.resize)
        frame = choose_bucket(size, self.resize.buckets)
        return index, letterbox(resize_image(image, size, self.resize.interpolation), frame), size


def _content_size(record: Record, resize: ResizeConfig) -> Size:
    return resized_size(record.size, resize.short_side, resize.max_side, resize.rounding)


def frame_batches(
    dataset: CocoDataset, resize: ResizeConfig, loading: Loading
) -> DataLoader[tuple[int, Tensor, Size]]:
    """Return what iterates over `Frames` of pictures that share a bucket."""
    by_bucket: dict[Size, list[int]] = defaultdict(list)
    for index, record in enumerate(dataset.records):
        by_bucket[choose_bucket(_content_size(record, resize), resize.buckets)].append(index)
    batches = [
        indices[start : start + loading.batch_size]
        for indices in by_bucket.values()
        for start in range(0, len(indices), loading.batch_size)
    ]
    return DataLoader(
        _FramedPictures(dataset, resize),
        batch_sampler=batches,
        num_workers=loading.workers,
        collate_fn=_stack,
    )


def _stack(pictures: Sequence[tuple[int, Tensor, Size]]) -> Frames:
    indices, images, sizes = zip(*pictures, strict=True)
    return Frames(list(indices), torch.stack(images), torch.tensor(sizes))
