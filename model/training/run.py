"""A training run: its data, its trainer, its folder and how far it is.

The batches of an epoch are a function of the seed and the epoch, the samples of the seed, the step and a picture's
position in the batch. So a resumed run continues with the losses that it would have had, and a run of several
processes (processes.py) or micro-batches has, but for rounding, those of one.
"""

import logging
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import torch

from model.config.files import to_mapping
from model.config.training import TrainConfig
from model.data.coco import CocoDataset
from model.data.proposal_file import ProposalSet
from model.errors import Refused
from model.evaluation.feeding import Loading
from model.evaluation.single_stage import stage_figures
from model.network.checkpoint import (
    TrainingState,
    load_training,
    restore_weights,
    save_checkpoint,
    without_download,
)
from model.network.detector import Detector
from model.training.batches import Batch, TrainingSet, training_loader
from model.training.epochs import Draw, Share, divide, plan_epoch
from model.training.processes import ALONE, Processes
from model.training.recorder import Recorder
from model.training.resumption import differences
from model.training.stages import begin_stage
from model.training.trainer import Trainer

logger = logging.getLogger(__name__)


class RunError(Refused):
    """A run that cannot start or go on; the message says why and what to do."""


class Run:
    """A training run, or one process's part in it.

    Args:
        config: the run's.
        folder: where it writes.
        device: "cpu", "cuda" or "cuda:1".
        resume: go on from the folder's last checkpoint.
        processes: that share it.

    Raises:
        RunError, CheckpointError, DataError, WeightsError: see their messages.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        device: str,
        resume: bool,
        processes: Processes = ALONE,
    ) -> None:
        self.config, self.folder, self.processes = config, folder, processes
        _require_equal_shares(config, processes)
        data = config.data
        self.training = CocoDataset.read(
            data.root / data.train_annotations,
            data.root / data.train_images,
            skip_empty=data.skip_empty,
            verify=data.verify,
        )
        logger.info("training on %s", self.training.inventory)
        self.validation = _validation_set(config)
        if self.validation and self.validation.class_names != self.training.class_names:
            raise RunError(
                f"{data.val_annotations}: expected the training set's classes"
                f" {list(self.training.class_names)}, got {list(self.validation.class_names)}"
            )
        self.train_proposals = _proposals(data.train_proposals, self.training)
        self.val_proposals = _proposals(data.val_proposals, self.validation)
        state = self._interrupted() if resume else None
        if state is None and self.last.exists():
            raise RunError(f"{self.last} exists: pass --resume to go on from it, or another --out")
        torch.manual_seed(config.seed)
        network = without_download(config.model) if state else config.model
        detector = Detector(network, self.training.class_names).to(device)
        begin_stage(detector, config, resumed=state is not None)
        self.trainer = Trainer(detector, config, processes)
        self.done = 0
        if state:
            self._resume(state)
        elif config.model.backbone.weights == "none":
            logger.warning("the backbone starts at random, and its frozen norms normalise nothing")

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.folder / "last.pt"

    def execute(self) -> None:
        """Train to the last step, with checkpoints, evaluations and records on the way."""
        if self.processes.rank:
            self._train(None)
            return
        with Recorder(self.folder, self.done, self.config.schedule.steps) as recorder:
            self._train(recorder)

    def _train(self, recorder: Recorder | None) -> None:
        """Take every step; the process with the `recorder` writes."""
        config, total = self.config, self.config.schedule.steps
        started = time.perf_counter()
        for batches in self.batches():
            values = self.trainer.step(self.done, batches)
            self.done += 1
            evaluation_due = _due(self.done, config.eval_every, total)
            if recorder:
                seconds = time.perf_counter() - started
                recorder.step(self.done, values, batches[0].whole / seconds)
                # In this order: a run that is stopped in between goes on from before its evaluation.
                if evaluation_due:
                    self._evaluate(recorder)
                if _due(self.done, config.checkpoint_every, total):
                    self._save()
            if evaluation_due:
                self.processes.wait()
            started = time.perf_counter()

    def batches(self) -> Iterator[list[Batch]]:
        """What this process takes for each step from `done` on, until the last."""
        resize = self.config.model.resize
        training_set = TrainingSet(
            self.training,
            resize,
            self.train_proposals,
            self.config.model.rpn.post_nms_train,
        )
        steps = self._shares(training_set)
        return iter(training_loader(training_set, steps, self.config.data.workers))

    def _shares(self, training_set: TrainingSet) -> Iterator[list[Share]]:
        """This process's shares of each step's batch: every so many of those of all processes."""
        processes, schedule = self.processes.count, self.config.schedule
        for batch in islice(self._whole_batches(), self.done, schedule.steps):
            shares = divide(batch, training_set.frame(batch), processes * schedule.accumulate)
            yield shares[self.processes.rank :: processes]

    def _whole_batches(self) -> Iterator[list[Draw]]:
        """The batches of epoch after epoch, without end."""
        config = self.config
        sizes = [record.size for record in self.training.records]
        for epoch in count():
            yield from plan_epoch(
                sizes,
                seed=config.seed,
                epoch=epoch,
                batch_size=config.schedule.batch_size,
                short_sides=config.data.short_sides or (config.model.resize.short_side,),
                flip=config.data.flip,
            )

    def _save(self) -> None:
        trainer = self.trainer
        state = TrainingState(
            config=to_mapping(self.config),
            step=self.done,
            data_digest=self._data_digest(),
            optimizer=trainer.optimizer.state_dict(),
            scaler=trainer.scaler.state_dict(),
            average={} if trainer.average is None else trainer.average.state_dict(),
        )
        save_checkpoint(self.last, trainer.detector, state)

    def _data_digest(self) -> str:
        """What names all that training sees: the data set, and the proposals given with it."""
        given = self.train_proposals
        return self.training.digest + (f"+{given.digest}" if given else "")

    def _interrupted(self) -> TrainingState:
        """The state to go on from; refused if it is that of another configuration."""
        if not self.last.exists():
            raise RunError(f"{self.last}: no checkpoint to resume from; start without --resume")
        state = load_training(self.last)
        different = sorted(differences(state.config, to_mapping(self.config)))
        if different:
            raise RunError(
                f"{self.last}: begun with another configuration: {'; '.join(different)}."
                " Resume with the same one, or start anew with another --out"
            )
        if state.data_digest != self._data_digest():
            raise RunError(
                f"{self.last}: begun with other training data: pictures, sizes, boxes or proposals are not the same."
                " Resume with the same data, or start anew with another --out"
            )
        return state

    def _resume(self, state: TrainingState) -> None:
        restore_weights(self.trainer.detector, self.last)
        self.trainer.optimizer.load_state_dict(state.optimizer)
        if state.scaler:  # a run on a CPU has none
            self.trainer.scaler.load_state_dict(state.scaler)
        if self.trainer.average is not None:
            self.trainer.average.load_state_dict(state.average)
        self.done = state.step
        logger.info("resumed %s after step %d", self.last, self.done)

    def _evaluate(self, recorder: Recorder) -> None:
        detector = self.trainer.result
        save_checkpoint(self.folder / "model.pt", detector)
        if self.validation is None:
            return
        detector.eval()
        loading = Loading(self.config.schedule.batch_size, self.config.data.workers)
        table, figures = stage_figures(
            detector, self.validation, self.config.stage, self.val_proposals, loading
        )
        detector.train()
        recorder.say(table)
        recorder.record(self.done, figures)


def _proposals(path: Path | None, dataset: CocoDataset | None) -> ProposalSet | None:
    return None if path is None or dataset is None else ProposalSet.read(path, dataset)


def _validation_set(config: TrainConfig) -> CocoDataset | None:
    data = config.data
    if data.val_annotations is None or data.val_images is None:
        return None
    return CocoDataset.read(
        data.root / data.val_annotations, data.root / data.val_images, verify=data.verify
    )


def _require_equal_shares(config: TrainConfig, processes: Processes) -> None:
    batch, accumulate = config.schedule.batch_size, config.schedule.accumulate
    if batch % (processes.count * accumulate):
        raise RunError(
            f"schedule.batch_size: expected a multiple of {processes.count} processes x"
            f" {accumulate} micro-batches (schedule.accumulate), got {batch}"
        )


def _due(step: int, every: int, total: int) -> bool:
    return step == total or (every > 0 and step % every == 0)
