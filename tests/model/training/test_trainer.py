from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import torch

from model.config.resize import ResizeRule
from model.config.training import ScheduleConfig, TrainConfig
from model.data.coco import CocoDataset
from model.network.detector import Detector
from model.training.batches import Batch, TrainingSet, training_loader
from model.training.epochs import divide, plan_epoch
from model.training.precision import precision_for
from model.training.trainer import DivergedError, Trainer, learning_rate
from tests.model.small import COLOURS, coloured_rectangles, run_config

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 30


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[Batch]:
    root = tmp_path_factory.mktemp("rectangles")
    coloured_rectangles(root, 12)
    dataset = CocoDataset.read(root / "train.json", root)
    sizes = [record.size for record in dataset.records]
    plan = plan_epoch(sizes, seed=0, epoch=0, batch_size=4, short_sides=(64,))
    training_set = TrainingSet(dataset, ResizeRule(64, 96))
    steps = [divide(batch, training_set.frame(batch), 1) for batch in plan]
    return [batch for [batch] in training_loader(training_set, steps, 0)]


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return run_config(tmp_path, STEPS)


def trainer_of(config: TrainConfig) -> Trainer:
    torch.manual_seed(config.seed)
    precision = precision_for(config.precision, "cpu")
    return Trainer(Detector(config.model, tuple(COLOURS)), config, precision)


def with_schedule(config: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(config, schedule=replace(config.schedule, **changes))


def test_the_rate_warms_up_and_drops_at_each_decay_step() -> None:
    schedule = ScheduleConfig(
        learning_rate=0.2, warmup_steps=10, warmup_factor=0.1, decay_steps=(20, 30), decay=0.5
    )
    by_hand = {0: 0.02, 5: 0.11, 9: 0.182, 10: 0.2, 19: 0.2, 20: 0.1, 29: 0.1, 30: 0.05, 99: 0.05}
    assert {step: learning_rate(step, schedule) for step in by_hand} == pytest.approx(by_hand)


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert learning_rate(0, ScheduleConfig(warmup_steps=0)) == 0.02


def test_the_losses_fall(batches: list[Batch], config: TrainConfig) -> None:
    trainer = trainer_of(with_schedule(config, learning_rate=0.04))
    steps = enumerate(islice(cycle(batches), STEPS))
    values = [trainer.step(number, [batch]) for number, batch in steps]
    first, last = values[: len(batches)], values[-len(batches) :]
    # 0.73 on a CPU of AVX2: after so few steps rounding shows
    assert sum(v["loss"] for v in last) < 0.85 * sum(v["loss"] for v in first)
    assert sum(v["objectness"] for v in last) < 0.9 * sum(v["objectness"] for v in first)
    for each in values:
        terms = ("objectness", "proposal_box", "classification", "box")
        assert each["loss"] == pytest.approx(sum(each[name] for name in terms), rel=1e-5)
        assert set(each) == {"loss", "lr", *terms}


def test_the_same_seed_gives_the_same_losses(batches: list[Batch], config: TrainConfig) -> None:
    def losses(seed: int) -> list[dict[str, float]]:
        trainer = trainer_of(replace(config, seed=seed))
        return [trainer.step(number, [batch]) for number, batch in enumerate(batches)]

    first = losses(3)
    assert losses(3) == first
    assert losses(4) != first


def test_every_part_learns_and_frozen_stages_do_not(
    batches: list[Batch], config: TrainConfig
) -> None:
    backbone = replace(config.model.backbone, frozen_stages=2)
    config = replace(config, model=replace(config.model, backbone=backbone))
    trainer = trainer_of(with_schedule(config, warmup_steps=0))
    before = {n: p.detach().clone() for n, p in trainer.detector.named_parameters()}
    trainer.step(0, [batches[0]])
    for name, parameter in trainer.detector.named_parameters():
        frozen = name.startswith(("backbone.stem", "backbone.stages.0."))
        assert torch.equal(parameter, before[name]) == frozen, name


def test_weights_decay_and_biases_do_not(config: TrainConfig) -> None:
    trainer = trainer_of(with_schedule(config, weight_decay=0.25))
    names = {id(p): name for name, p in trainer.detector.named_parameters()}
    decay = {
        names[id(p)]: group["weight_decay"]
        for group in trainer.optimizer.param_groups
        for p in group["params"]
    }
    assert set(decay) == set(names.values())
    assert all(value == (0.0 if n.endswith("bias") else 0.25) for n, value in decay.items())


def test_a_step_takes_the_rate_of_its_number(batches: list[Batch], config: TrainConfig) -> None:
    trainer = trainer_of(with_schedule(config, steps=9, warmup_steps=5))
    values = [trainer.step(number, [batches[0]]) for number in (0, 4, 5)]
    assert [v["lr"] for v in values] == pytest.approx([0.002, 0.0164, 0.02])
    assert {group["lr"] for group in trainer.optimizer.param_groups} == {0.02}


def test_a_clipped_gradient_is_no_longer_than_allowed(
    batches: list[Batch], config: TrainConfig
) -> None:
    def length(clip_norm: float) -> float:
        trainer = trainer_of(with_schedule(config, clip_norm=clip_norm))
        trainer.step(0, [batches[0]])
        gradients = [p.grad.norm() for p in trainer.detector.parameters() if p.grad is not None]
        return float(torch.stack(gradients).norm())

    assert length(0.0) > 0.02
    assert length(0.01) == pytest.approx(0.01, rel=1e-3)


def test_mixed_precision_stays_near_float32_and_keeps_float32_weights(
    batches: list[Batch], config: TrainConfig
) -> None:
    exact = trainer_of(config).step(0, [batches[0]])
    trainer = trainer_of(replace(config, precision="mixed"))
    mixed = trainer.step(0, [batches[0]])
    assert mixed["loss"] == pytest.approx(exact["loss"], rel=0.05)
    assert mixed["loss"] != exact["loss"]
    assert {p.dtype for p in trainer.detector.parameters()} == {torch.float32}


def test_a_batch_without_any_box_can_be_learned_from(
    batches: list[Batch], config: TrainConfig
) -> None:
    none = [torch.zeros(0, 4)] * 4, [torch.zeros(0, dtype=torch.int64)] * 4
    values = trainer_of(config).step(0, [replace(batches[0], gt_boxes=none[0], gt_labels=none[1])])
    assert values["proposal_box"] == values["box"] == 0
    assert values["objectness"] > 0


def test_a_loss_that_is_no_number_stops_the_run_before_the_weights_move(
    batches: list[Batch], config: TrainConfig
) -> None:
    trainer = trainer_of(config)
    with torch.no_grad():
        trainer.detector.roi.logits.weight[0, 0] = float("nan")
    before = {n: v.clone() for n, v in trainer.detector.state_dict().items()}
    with pytest.raises(DivergedError, match=r"step 8: the loss is nan .*learning_rate") as caught:
        trainer.step(7, [batches[0]])
    assert "classification nan" in str(caught.value)
    after = trainer.detector.state_dict()
    assert all(torch.equal(after[n].nan_to_num(), before[n].nan_to_num()) for n in before)


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_move(
    batches: list[Batch], config: TrainConfig
) -> None:
    trainer = trainer_of(replace(config, precision="float32"))

    def explode(_: torch.nn.Module, inputs: Any, __: Any) -> Any:
        return (inputs[0] * float("inf"),)

    trainer.detector.roi.logits.register_full_backward_hook(explode)
    before = {n: v.clone() for n, v in trainer.detector.state_dict().items()}
    with pytest.raises(DivergedError, match=r"step 8: the gradient's norm is (nan|inf)"):
        trainer.step(7, [batches[0]])
    after = trainer.detector.state_dict()
    assert all(torch.equal(after[n], before[n]) for n in before)
