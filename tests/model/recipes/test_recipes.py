"""Every shipped configuration builds its detector and takes a step, here at a size that takes no time."""

from pathlib import Path

import pytest
import torch

import model
from model.config.files import load_config
from model.network.detector import Detector
from model.training.batches import Batch
from model.training.precision import precision_for
from model.training.stages import UNREACHED, begin_stage
from model.training.trainer import Trainer
from tests.model.small import random_boxes
from tests.places import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIGS = Path(str(model.__file__)).parent / "recipes"
SHIPPED = sorted(CONFIGS.rglob("*.toml"))
# The shape of the network is the configuration's; how wide and deep it is costs time only.
SMALL = (
    'model.backbone.weights="none"',
    "model.pyramid.channels=8",
    "model.roi.fc_channels=16",
    "model.rpn.post_nms_train=20",
    'precision="float32"',
)
RESNET18 = 'model.backbone.name="resnet18"'
PAPER_INPUT = (800, 1000)
ANCHORS = {"a": 47_250, "b": 12_000, "c": 199_974, "d": 199_974, "e": 199_974, "f": 750_000}


def batch_of_noise() -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=generator),
        sizes=torch.tensor([[64, 96], [60, 80]]),
        gt_boxes=[random_boxes(2, (60, 80), 1, 16), random_boxes(1, (60, 80), 2, 16)],
        gt_labels=[torch.tensor([0, 1]), torch.tensor([1])],
        positions=(0, 1),
        whole=2,
        proposals=[random_boxes(9, (60, 80), 3, 4), random_boxes(5, (60, 80), 4, 4)],
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_shipped_configuration_builds_and_takes_a_step(path: Path) -> None:
    # A step from random weights and norms that do nothing would diverge at the rates that the files give.
    size = (*SMALL, "schedule.clip_norm=1", "schedule.warmup_factor=1e-6")
    names = (RESNET18,) if path.parent.name == "paper" else ()
    config = load_config(path, (*size, *names))
    torch.manual_seed(0)
    detector = Detector(config.model, ("cat", "dog"))
    begin_stage(detector, config, None)  # without what an earlier row hands over
    Trainer(detector, config, precision_for(config.precision, "cpu")).step(0, [batch_of_noise()])
    moved = {n.split(".")[0] for n, value in detector.named_parameters() if value.grad is not None}
    fixed = {*config.freeze, *UNREACHED[config.stage]}
    for part in ("backbone", "rpn", "roi"):
        assert (part in moved) == (part not in fixed)


@pytest.mark.parametrize(("row", "count"), ANCHORS.items())
def test_a_row_of_table_1_has_as_many_anchors_as_in_the_paper(row: str, count: int) -> None:
    config = load_config(CONFIGS / "ablation" / f"table1{row}.toml", SMALL)
    detector = Detector(config.model, ("cat",))
    height, width = PAPER_INPUT  # which the paper does not pad to 32
    maps = tuple(
        torch.empty(1, 1, -(-height // 2**k), -(-width // 2**k)) for k in detector.fpn.levels
    )
    assert sum(grid.count for grid in detector.anchors(maps)) == count


def test_tables_1_to_3_are_all_there() -> None:
    names = {path.stem for path in SHIPPED}
    assert {f"table{table}{row}" for table in (1, 2) for row in "abcdef"} <= names
    assert {f"table3{row}" for row in "abc"} <= names


def test_all_rows_of_the_study_have_one_budget_and_one_input() -> None:
    configs = [load_config(path) for path in (CONFIGS / "ablation").iterdir()]
    assert len({config.schedule for config in configs}) == 1
    assert len({config.model.resize for config in configs}) == 1
    assert len({config.model.anchors for config in configs}) == 1
    assert len({config.model.backbone for config in configs}) == 1


@pytest.mark.parametrize("row", "abcdef")
def test_rows_of_table_2_share_the_proposals_of_the_pyramid(row: str) -> None:
    data = load_config(CONFIGS / "ablation" / f"table2{row}.toml").data
    assert data.train_proposals == ROOT / "runs/study/aquarium/table1c-s0/train.npz"
