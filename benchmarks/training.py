"""Training throughput of this trainer beside torchvision's Faster R-CNN, in one run.

    python -m benchmarks.training [CONFIG] [--images DIR --annotations JSON] [--weights FILE] [--rounds N] [--profile]

Both train the network that CONFIG describes (MobileNetV2, pyramid, anchors, counts, head) on the same batches with the
same optimizer and precision, and take turns: a round times one step of each on one batch. torchvision's norms are its
`FrozenBatchNorm2d`; its batches are ours, already resized and of one orientation. Decoding is not timed. Without
photographs it makes pictures of the sizes that Pascal VOC's have.

Prints one JSON object: the seconds of every step, their medians, images a second and the ratio. With --profile it
prints, of each of the two, the operators that take most of a step.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torchvision.models import mobilenet_v2
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from model.config.detector import DetectorConfig
from model.config.files import ConfigError, load_config
from model.config.training import TrainConfig
from model.data.coco import CocoDataset
from model.data.faults import DataError
from model.network.detector import Detector
from model.network.pretrained import WeightsError
from model.training.batches import Batch, TrainingSet, training_loader
from model.training.epochs import divide, plan_epoch
from model.training.trainer import Trainer

CONFIG = Path("model/recipes/voc-mobilenetv2.toml")
# The commonest sizes (height, width) of Pascal VOC's photographs at a shorter side of 320, sixteen in all.
SIZES = 7 * [(320, 426)] + 5 * [(320, 480)] + 3 * [(426, 320)] + [(320, 320)]
# torchvision's MobileNetV2: the blocks that end in C2..C5, their channels, and the blocks that each number of frozen
# stages fixes.
TAPS = {"3": "0", "6": "1", "13": "2", "17": "3"}
TAP_CHANNELS = [24, 32, 96, 320]
FROZEN_BLOCKS = (0, 1, 4, 7, 14, 18)


class Training(Protocol):
    """What is timed."""

    def step(self, step: int, batches: Sequence[Batch]) -> object:
        """Train on `batches`."""


class Peer:
    """torchvision's Faster R-CNN with our configuration, trained as its reference script does.

    Args:
        config: of a MobileNetV2 run.
        num_classes: foreground classes.
    """

    def __init__(self, config: TrainConfig, num_classes: int) -> None:
        self.network = _peer_network(config.model, num_classes).train()
        self.config = config
        schedule = config.schedule
        self.optimizer = torch.optim.SGD(
            [p for p in self.network.parameters() if p.requires_grad],
            lr=schedule.scaled_learning_rate,
            momentum=schedule.momentum,
            weight_decay=schedule.weight_decay,
        )

    def step(self, _: int, batches: Sequence[Batch]) -> float:
        """Train on the one of `batches`; the loss."""
        [batch] = batches
        images, targets = [], []
        for image, size, boxes, labels in zip(
            batch.images, batch.sizes.tolist(), batch.gt_boxes, batch.gt_labels, strict=True
        ):
            images.append(image[:, : size[0], : size[1]] / 255.0)
            targets.append({"boxes": boxes, "labels": labels + 1})
        mixed = self.config.precision == "mixed"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            losses = self.network(images, targets)
            total = sum(losses.values())
        assert isinstance(total, Tensor)
        self.optimizer.zero_grad()
        torch.autograd.backward(total)
        if self.config.schedule.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.schedule.clip_norm)
        self.optimizer.step()
        return total.item()


def _peer_network(config: DetectorConfig, num_classes: int) -> FasterRCNN:
    features = mobilenet_v2(norm_layer=FrozenBatchNorm2d).features
    if config.backbone.weights != "none":
        state = torch.load(config.backbone.weights, weights_only=True)
        kept = {
            k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")
        }
        features.load_state_dict(kept, strict=False)
    features[: FROZEN_BLOCKS[config.backbone.frozen_stages]].requires_grad_(False)
    channels, rpn, roi = config.pyramid.channels, config.rpn, config.roi
    return FasterRCNN(
        BackboneWithFPN(features, TAPS, TAP_CHANNELS, channels, LastLevelMaxPool()),
        min_size=config.resize.short_side,
        max_size=config.resize.max_side,
        image_mean=config.pixels.mean,
        image_std=config.pixels.std,
        rpn_anchor_generator=AnchorGenerator(
            tuple((int(size),) for size in config.anchors.sizes), 5 * (config.anchors.ratios,)
        ),
        rpn_pre_nms_top_n_train=rpn.pre_nms_train,
        rpn_post_nms_top_n_train=rpn.post_nms_train,
        rpn_batch_size_per_image=rpn.batch_per_image,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], roi.resolution, roi.sampling_ratio),
        box_head=TwoMLPHead(channels * roi.resolution**2, roi.fc_channels),
        box_predictor=FastRCNNPredictor(roi.fc_channels, num_classes + 1),
        box_batch_size_per_image=roi.batch_per_image,
        box_positive_fraction=roi.positive_fraction,
        _skip_resize=True,  # the pictures come resized
    )


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    options = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            images, annotations = options.images, options.annotations
            if images is None:
                images, annotations = root, _made_pictures(root, 16 * options.rounds)
            config = load_config(
                options.config, (f"model.backbone.weights={options.weights}", *options.set)
            )
            dataset = CocoDataset.read(annotations, images, verify=False)
            batches = _batches(config, dataset, options.rounds)
            torch.manual_seed(config.seed)
            contestants: dict[str, Training] = {
                "ours": Trainer(Detector(config.model, dataset.class_names), config),
                "torchvision": Peer(config, len(dataset.class_names)),
            }
    except (ConfigError, DataError, OSError, WeightsError) as error:
        print(f"benchmarks.training: {error}", file=sys.stderr)
        return 2
    if options.profile:
        for name, training in contestants.items():
            print(f"{name}\n{_profiled(training, batches)}")
        return 0
    print(json.dumps(_report(config, _timed(contestants, batches)), indent=2))
    return 0


def _timed(contestants: dict[str, Training], batches: list[Batch]) -> dict[str, list[float]]:
    """The seconds of each step, in the order of `batches`; who begins changes from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for training in contestants.values():  # what is allocated and chosen once
        training.step(0, batches[:1])
        training.step(1, batches[-1:])
    for number, batch in enumerate(batches):
        names = list(contestants) if number % 2 else list(contestants)[::-1]
        for name in names:
            started = time.perf_counter()
            contestants[name].step(number + 2, [batch])
            seconds[name].append(time.perf_counter() - started)
    return seconds


def _report(config: TrainConfig, seconds: dict[str, list[float]]) -> dict[str, object]:
    medians = {name: statistics.median(steps) for name, steps in seconds.items()}
    return {
        "config": config.name,
        "precision": config.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "seconds_of_steps": {n: [round(s, 3) for s in steps] for n, steps in seconds.items()},
        "median_s": {name: round(median, 3) for name, median in medians.items()},
        "images_per_s": {
            name: round(config.schedule.batch_size / median, 2) for name, median in medians.items()
        },
        "ratio": round(medians["torchvision"] / medians["ours"], 2),
    }


def _profiled(training: Training, batches: list[Batch]) -> str:
    """A table of the operators that take most of the time of three steps."""
    training.step(0, batches[:1])
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for number, batch in enumerate(batches[:3], start=1):
            training.step(number, [batch])
    table: str = record.key_averages().table(sort_by="self_cpu_time_total", row_limit=20)
    return table


def _batches(config: TrainConfig, dataset: CocoDataset, count: int) -> list[Batch]:
    """Full batches of the first epoch, as training draws them."""
    resize = config.model.resize
    plan = plan_epoch(
        [record.size for record in dataset.records],
        seed=config.seed,
        epoch=0,
        batch_size=config.schedule.batch_size,
        short_sides=(resize.short_side,),
    )
    full = [batch for batch in plan if len(batch) == config.schedule.batch_size]
    if len(full) < count:
        raise DataError(f"expected pictures for {count} batches, got {len(full)}; lower --rounds")
    training_set = TrainingSet(dataset, resize)
    steps = [divide(batch, training_set.frame(batch), 1) for batch in full[:count]]
    return [batch for [batch] in training_loader(training_set, steps, 0)]


def _made_pictures(root: Path, count: int) -> Path:
    """Write `count` pictures of noise with one to three rectangles each; the path of their COCO json."""
    rng = np.random.default_rng(0)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(1, count + 1):
        height, width = SIZES[number % len(SIZES)]
        pixels = rng.integers(90, 140, (height, width, 3), dtype=np.uint8)
        for _ in range(int(rng.integers(1, 4))):
            w, h = (int(rng.integers(30, side // 2)) for side in (width, height))
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            pixels[y : y + h, x : x + w] = rng.integers(0, 256, 3)
            box = {"bbox": [x, y, w, h], "area": w * h, "iscrowd": 0, "category_id": 1}
            annotations.append(box | {"id": len(annotations) + 1, "image_id": number})
        name = f"{number}.jpg"
        Image.fromarray(pixels).save(root / name)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
    path = root / "instances.json"
    categories = [{"id": 1, "name": "rectangle"}]
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("config", type=Path, nargs="?", default=CONFIG)
    parser.add_argument("--images", type=Path, help="a folder of pictures (default: made ones)")
    parser.add_argument("--annotations", type=Path, help="their COCO json")
    parser.add_argument("--weights", default="none", help="of the backbone (default: random)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
