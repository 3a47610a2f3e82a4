"""`fpn-eval`: the COCO metrics of a detector on a data set.

    fpn-eval CHECKPOINT --images DIR --annotations JSON [--batch-size 8] [--json OUT]

Pictures go through the detector as they do in the service: each is resized by the detector's
rule, placed in the bucket that it alone decides, and batched with others of that bucket only. So
the batch size changes the speed and not the figures.

    N      images of a batch
    H, W   their bucket
    D      detections an image
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from model.annotations import DataError, reason
from model.checkpoint import CheckpointError, load_detector
from model.coco import CocoDataset, Record
from model.config import DetectorConfig, ResizeConfig
from model.detector import Detections
from model.metrics import Metrics, coco_metrics, format_table
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
    def mean(self) -> Tensor:
        """The channel means of its normalisation."""

    def detect(self, images: Tensor, sizes: Tensor) -> Detections:
        """Return the detections in `images` uint8 [N, 3, H, W] of content `sizes` int64 [N, 2]."""


class Frames(NamedTuple):
    """A batch of letterboxed pictures: `images` uint8 [N, 3, H, W], `sizes` int64 [N, 2].

    `indices` are the pictures' places in the data set.
    """

    indices: list[int]
    images: Tensor
    sizes: Tensor


def evaluate(
    detector: Evaluable,
    dataset: CocoDataset,
    batch_size: int = 8,
    *,
    workers: int = 0,
    progress: bool = False,
) -> Metrics:
    """Return the COCO metrics of the detector on the data set; it must be in evaluation mode.

    Args:
        detector: its class names must be the data set's, in any order.
        dataset: pictures and ground truth.
        batch_size: pictures a batch at most.
        workers: processes that decode and resize; 0 means this one.
        progress: show a progress bar.

    Raises:
        DataError: the classes differ, or a picture cannot be decoded.
    """
    categories = _category_ids(detector.class_names, dataset)
    device = detector.mean.device
    results: list[dict[str, Any]] = []
    with (
        torch.inference_mode(),
        tqdm(total=len(dataset), unit="image", leave=False, disable=not progress) as bar,
    ):
        for frames in _loader(dataset, detector.config.resize, batch_size, workers):
            found = detector.detect(frames.images.to(device), frames.sizes.to(device))
            for row, index in enumerate(frames.indices):
                size = (int(frames.sizes[row, 0]), int(frames.sizes[row, 1]))
                results += _results(found, row, size, dataset.records[index], categories)
            bar.update(len(frames.indices))
    return coco_metrics(dataset.ground_truth, results)


def _category_ids(class_names: Sequence[str], dataset: CocoDataset) -> list[int]:
    """Return the data set's category id of each of the detector's labels, matched by name."""
    ids = dict(zip(dataset.class_names, dataset.category_ids, strict=True))
    if set(class_names) != ids.keys():
        raise DataError(
            "expected one set of classes, but only the detector has "
            f"{sorted(set(class_names) - ids.keys())} and only the data set "
            f"{sorted(ids.keys() - set(class_names))}"
        )
    return [ids[name] for name in class_names]


class _FramedPictures(Dataset[tuple[int, Tensor, Size]]):
    """The pictures of a data set as the detector takes them: index, pixels [3, H, W], size."""

    def __init__(self, dataset: CocoDataset, resize: ResizeConfig) -> None:
        self.dataset = dataset
        self.resize = resize

    def __getitem__(self, index: int) -> tuple[int, Tensor, Size]:
        image, _, _ = self.dataset.load(index)
        size = _content_size(self.dataset.records[index], self.resize)
        frame = choose_bucket(size, self.resize.buckets)
        return index, letterbox(resize_image(image, size), frame), size


def _content_size(record: Record, resize: ResizeConfig) -> Size:
    return resized_size(record.size, resize.short_side, resize.max_side)


def _loader(
    dataset: CocoDataset, resize: ResizeConfig, batch_size: int, workers: int
) -> DataLoader[tuple[int, Tensor, Size]]:
    """Return what iterates over `Frames` of at most `batch_size` pictures that share a bucket."""
    by_bucket: dict[Size, list[int]] = defaultdict(list)
    for index, record in enumerate(dataset.records):
        by_bucket[choose_bucket(_content_size(record, resize), resize.buckets)].append(index)
    batches = [
        indices[start : start + batch_size]
        for indices in by_bucket.values()
        for start in range(0, len(indices), batch_size)
    ]
    return DataLoader(
        _FramedPictures(dataset, resize),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_stack,
    )


def _stack(pictures: Sequence[tuple[int, Tensor, Size]]) -> Frames:
    indices, images, sizes = zip(*pictures, strict=True)
    return Frames(list(indices), torch.stack(images), torch.tensor(sizes))


def _results(
    found: Detections, row: int, size: Size, record: Record, categories: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one image's detections as COCO results, in pixels of the photograph."""
    count = int(found.counts[row])
    boxes = scale_boxes(found.boxes[row, :count].cpu(), size, record.size)
    corners, far_corners = boxes[:, :2], boxes[:, 2:]
    boxes_xywh = torch.cat((corners, far_corners - corners), dim=1).tolist()
    scores, labels = found.scores[row, :count].tolist(), found.labels[row, :count].tolist()
    return [
        {"image_id": record.image_id, "category_id": categories[label], "bbox": box, "score": score}
        for box, label, score in zip(boxes_xywh, labels, scores, strict=True)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, or 2 after one line that says what was wrong."""
    options = _parser().parse_args(arguments)
    try:
        if options.device == "cuda" and not torch.cuda.is_available():
            raise DataError("--device cuda: torch finds no CUDA device here; use --device cpu")
        detector = load_detector(options.checkpoint).to(options.device)
        dataset = CocoDataset.read(options.annotations, options.images)
        metrics = evaluate(
            detector, dataset, options.batch_size, workers=options.workers, progress=True
        )
        print(f"{dataset.report}\n\n{format_table(metrics)}")
        if options.json:
            options.json.write_text(json.dumps(metrics.as_json(), indent=2) + "\n")
    except (CheckpointError, DataError, OSError) as error:
        print(f"fpn-eval: {reason(error)}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fpn-eval", description="Score a detector as COCO does.")
    parser.add_argument("checkpoint", type=Path, help="a run's model.pt or last.pt")
    parser.add_argument("--images", type=Path, required=True, help="the folder of the pictures")
    parser.add_argument("--annotations", type=Path, required=True, help="their COCO json")
    parser.add_argument("--batch-size", type=_positive, default=8, metavar="N")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="decoding processes")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures to this file")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, choices=["cpu", "cuda"])
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
