"""The batches that both sides train on: a data set's, as training draws them, or made ones."""

import numpy as np
import torch

from export.made_pictures import made_batch
from model.config.training import TrainConfig
from model.data.coco import CocoDataset
from model.errors import Refused
from model.training.batches import Batch, TrainingSet, training_loader
from model.training.epochs import divide, plan_epoch

# Those of Pascal VOC's commonest photographs at a shorter side of 320, (height, width).
FRAMES = ((320, 448), (320, 480), (448, 320))


def drawn_batches(config: TrainConfig, dataset: CocoDataset, count: int) -> list[Batch]:
    """The first `count` full batches of the first epoch.

    Raises:
        Refused: there are fewer.
    """
    resize, size = config.model.resize, config.schedule.batch_size
    plan = plan_epoch(
        [record.size for record in dataset.records],
        seed=config.seed,
        epoch=0,
        batch_size=size,
        short_sides=(resize.short_side,),
    )
    full = [batch for batch in plan if len(batch) == size]
    if len(full) < count:
        raise Refused(
            f"expected images for {count} batches of {size}, got {len(full)}; lower --rounds"
        )
    training_set = TrainingSet(dataset, resize)
    steps = [divide(batch, training_set.frame(batch), 1) for batch in full[:count]]
    return [batch for [batch] in training_loader(training_set, steps, 0)]


def made_batches(size: int, count: int) -> list[Batch]:
    """`count` batches of `size` made images, each with one object in its middle."""
    random = np.random.default_rng(0)
    batches = []
    for number in range(count):
        images, sizes = made_batch(size, FRAMES[number % len(FRAMES)], random)
        corners = sizes.flip(1) / 4  # (height, width) -> a quarter of (x, y)
        boxes = list(
            torch.cat([corners, 3 * corners], dim=1)[:, None]
        )  # (size, 4) -> size of (1, 4)
        labels = torch.zeros((size, 1), dtype=torch.int64)
        batches.append(Batch(images, sizes, boxes, list(labels), tuple(range(size)), size))
    return batches
