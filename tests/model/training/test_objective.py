from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.config.training import StageName, TrainConfig
from model.network.detector import Detector
from model.training.batches import Batch
from model.training.losses import TERMS, Losses
from model.training.objective import Objective
from model.training.precision import precision_for
from tests.detectors import noise
from tests.model.small import COLOURS, run_config

pytestmark = pytest.mark.usefixtures("one_thread")

BOXES = torch.tensor([[4.0, 6, 40, 50], [30, 10, 62, 34]])
BATCH = Batch(
    images=noise(2, (64, 96)),
    sizes=torch.tensor([[64, 96], [50, 90]]),
    gt_boxes=[BOXES, BOXES[:1]],
    gt_labels=[torch.tensor([2, 0]), torch.tensor([1])],
    positions=(0, 1),
    whole=2,
    proposals=[BOXES + 2, BOXES + 3],
)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return run_config(tmp_path, 1)


def objective(config: TrainConfig) -> Objective:
    torch.manual_seed(0)
    detector = Detector(config.model, tuple(COLOURS)).to(memory_format=torch.channels_last)
    return Objective(detector.train(), config, precision_for("float32", "cpu"))


@pytest.mark.parametrize("stage", TERMS)
def test_each_stage_has_its_own_terms_all_finite(config: TrainConfig, stage: StageName) -> None:
    given = Path("p.npz") if stage == "fast" else None
    data = replace(config.data, train_proposals=given)
    terms = objective(replace(config, stage=stage, data=data)).losses(0, BATCH).terms()
    assert tuple(terms) == TERMS[stage]
    assert all(torch.isfinite(value) and value > 0 for value in terms.values())


def test_what_is_drawn_follows_from_the_step_and_nothing_before(config: TrainConfig) -> None:
    whole = objective(config)
    first, other, again = (total(whole.losses(step, BATCH)) for step in (3, 4, 3))
    assert first == again
    assert first != other


def test_the_losses_of_a_batch_are_the_sums_of_its_shares(config: TrainConfig) -> None:
    shares = [
        Batch(
            images=BATCH.images[n : n + 1],
            sizes=BATCH.sizes[n : n + 1],
            gt_boxes=BATCH.gt_boxes[n : n + 1],
            gt_labels=BATCH.gt_labels[n : n + 1],
            positions=(n,),
            whole=2,
        )
        for n in range(2)
    ]
    whole = objective(config)
    together = sum(total(whole.losses(0, share)) for share in shares)
    assert together == pytest.approx(total(whole.losses(0, BATCH)), rel=1e-4)


def test_proposals_are_made_without_a_gradient(config: TrainConfig) -> None:
    """The region head's losses alone leave the proposal head as it is."""
    whole = objective(config)
    losses = whole.losses(0, BATCH)
    assert losses.classification is not None
    assert losses.box is not None
    torch.autograd.backward(losses.classification + losses.box)
    assert all(parameter.grad is None for parameter in whole.detector.rpn.parameters())
    assert whole.detector.roi.logits.weight.grad is not None


def total(losses: Losses) -> float:
    return losses.total().item()
