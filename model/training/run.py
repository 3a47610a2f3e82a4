"""A training run: its data, its trainer, its folder and how far it is.

The batches of an epoch are a function of the seed and the epoch, the samples of the seed, the step and an image's
position in the batch. So a resumed run continues with the losses that it would have had, and a run of several
processes (processes.py) or micro-batches has, but for rounding, those of one.
"""

import logging
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from model.config.files import ConfigError, to_mapping
from model.config.training import TrainConfig
from model.errors import Stopped
from model.evaluation.detection_metrics import format_table
from model.evaluation.evaluation import evaluate
from model.evaluation.feeding import Loading
from model.evaluation.single_stage import stage_figures
from model.importers.beginning import read_start
from model.network.checkpoint import (
    TrainingState,
    restore_weights,
    save_checkpoint,
    without_download,
)
from model.network.detector import Detector
from model.training.batches import Batch, TrainingSet, training_loader
from model.training.best import best_of
from model.training.datasets import read_datasets
from model.training.epochs import Share, batches_of_epochs, divide, repeat_factors
from model.training.length import in_steps
from model.training.precision import Precision
from model.training.processes import ALONE, Processes
from model.training.recorder import Recorder
from model.training.resumption import interrupted, require_no_run
from model.training.showing import BATCHES, FOLDER, save_batch, save_run_report
from model.training.stages import begin_stage, brings_backbone
from model.training.stopping import Stopping
from model.training.trainer import Trainer

logger = logging.getLogger(__name__)


class Run:
    """A training run, or one process's part in it.

    Args:
        config: the run's.
        folder: where it writes.
        device: "cpu", "cuda" or "cuda:1".
        precision: what `config.precision` comes to there.
        resume: go on from the folder's last checkpoint.
        processes: that share it.

    Raises:
        Refused: it cannot begin or go on; the message says why.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        device: str,
        precision: Precision,
        resume: bool,
        processes: Processes = ALONE,
    ) -> None:
        self.config, self.folder, self.processes = config, folder, processes
        self.precision = precision
        _require_equal_shares(config, processes)
        self.datasets = read_datasets(config.data, processes)
        images = len(self.datasets.training)
        self.config = config = replace(config, schedule=in_steps(config.schedule, images))
        validation = self.datasets.validation
        self.best = best_of(config, validation.class_names if validation else ())
        state = self._interrupted() if resume else None
        if state is None:
            require_no_run(self.last)
        torch.manual_seed(config.seed)
        start = read_start(config.init) if config.init and state is None else None
        given = state is not None or (start is not None and brings_backbone(start, config.model))
        network = without_download(config.model) if given else config.model
        detector = Detector(network, self.datasets.training.class_names).to(device)
        detector.category_ids = self.datasets.training.category_ids
        begin_stage(detector, config, start)
        self.trainer = Trainer(detector, config, precision, processes)
        self.done = self.saved = 0
        if state:
            self._resume(state)
        elif network.backbone.weights == "none" and not given:
            logger.warning("the backbone starts at random, and its frozen norms normalise nothing")

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.folder / "last.pt"

    @property
    def recipe(self) -> str:
        """How the weights came about, in words."""
        schedule = self.config.schedule
        return (
            f"{self.config.name}, {self.config.stage}: {self.done} of {schedule.steps} steps of"
            f" {schedule.batch_size} images"
        )

    def execute(self, limit_s: float = 0.0) -> None:
        """Train to the last step, with checkpoints, evaluations and records on the way; it is saved however it ends.

        Args:
            limit_s: seconds after which it stops before its last step; 0 is no limit.

        Raises:
            Stopped: by a signal.
        """
        stopping = Stopping(self.processes, limit_s)
        if self.processes.rank:
            with stopping:
                self._train(None, stopping)
            return
        with Recorder(self.folder, self.done, self.config.schedule.steps) as recorder, stopping:
            try:
                self._train(recorder, stopping)
            except Stopped as stopped:
                name = signal.Signals(stopped.number).name
                raise Stopped(stopped.number, self._rescued(f"{name} came", stopping)) from None
            except Exception:
                logger.warning(self._rescued("an error came", stopping))
                raise

    def _train(self, recorder: Recorder | None, stopping: Stopping) -> None:
        """Take every step; the process with the `recorder` writes."""
        config, total = self.config, self.config.schedule.steps
        if recorder:
            self._recall(recorder)
        over = stopping.asked(self.best.given_up)
        started = time.perf_counter()
        for batches in () if over else self.batches():
            self._show(batches)
            with stopping.whole():
                values = self.trainer.step(self.done, batches)
                self.done += 1
                if recorder:
                    seconds = time.perf_counter() - started
                    recorder.step(self.done, values, batches[0].whole / seconds)
            evaluation_due = _due(self.done, config.eval_every, total)
            if recorder:
                # In this order: where an evaluation fails, the steps before it are not lost.
                if evaluation_due or _due(self.done, config.checkpoint_every, total):
                    self._save(stopping)
                self._keep()
                if evaluation_due:
                    self._evaluate(recorder)
            if evaluation_due:
                self.processes.wait()
            if stopping.asked(self.best.given_up or stopping.late):
                break
            started = time.perf_counter()
        if recorder and self.done < total:
            self._end_early(recorder, stopping)

    def _show(self, batches: list[Batch]) -> None:
        """Draw what the first steps look at."""
        if self.config.report and not self.processes.rank and self.done < BATCHES:
            names = self.datasets.training.class_names
            save_batch(self.folder / FOLDER, self.done + 1, batches, names)

    def _recall(self, recorder: Recorder) -> None:
        """Take up the evaluations before an interruption, and make the one that it came before."""
        for step, figures in recorder.evaluations.items():
            self.best.add(step, figures)
        due = self.done and _due(self.done, self.config.eval_every, self.config.schedule.steps)
        if due and self.done not in recorder.evaluations:
            self._evaluate(recorder)

    def _end_early(self, recorder: Recorder, stopping: Stopping) -> None:
        if self.done > self.saved:
            self._save(stopping)
            self._write("model.pt")
        if self.best.given_up:
            best = self.best
            why = f"no better {best.metric} in {best.patience} evaluations; best.pt is of step {best.step}"
        else:
            why = "the time is over; --resume goes on"
        recorder.say(f"stopped after step {self.done} of {self.config.schedule.steps}: {why}")

    def _rescued(self, why: str, stopping: Stopping) -> str:
        """Save what is not saved, unless a step was cut in two, and say so."""
        if self.done > self.saved and not stopping.broken:
            self._save(stopping)
        where = f"{self.last} is of step {self.saved}; --resume goes on from it"
        return f"{why} after step {self.done}: {where if self.saved else 'nothing was trained'}"

    def batches(self) -> Iterator[list[Batch]]:
        """What this process takes for each step from `done` on, until the last."""
        config, datasets = self.config, self.datasets
        training_set = TrainingSet(
            datasets.training,
            config.model.resize,
            datasets.train_proposals,
            config.model.rpn.post_nms_train,
            config.data.augment,
        )
        return iter(training_loader(training_set, self._shares(training_set), config.data.workers))

    def _shares(self, training_set: TrainingSet) -> Iterator[list[Share]]:
        """This process's shares of each step's batch: every so many of those of all processes."""
        processes, schedule = self.processes.count, self.config.schedule
        sizes = [record.size for record in self.datasets.training.records]
        threshold = self.config.data.augment.repeat
        labels = [record.labels.tolist() for record in self.datasets.training.records]
        repeats = repeat_factors(labels, threshold) if threshold else ()
        batches = batches_of_epochs(sizes, self.config, repeats)
        for batch in islice(batches, self.done, schedule.steps):
            shares = divide(batch, training_set.frame(batch), processes * schedule.accumulate)
            yield shares[self.processes.rank :: processes]

    def _save(self, stopping: Stopping) -> None:
        state = TrainingState(
            config=to_mapping(self.config),
            step=self.done,
            precision=self.precision.name,
            data_digest=self.datasets.digest,
            **self.trainer.state(),
        )
        with stopping.whole():
            save_checkpoint(self.last, self.trainer.detector, state, recipe=self.recipe)
            self.saved = self.done

    def _keep(self) -> None:
        """Keep the detector of every so many steps."""
        every = self.config.keep_every
        if every and self.done % every == 0:
            self._write(f"step-{self.done}.pt")

    def _write(self, name: str) -> None:
        """Write the detector to evaluate and to export under this name."""
        save_checkpoint(self.folder / name, self.trainer.result, recipe=self.recipe)

    def _interrupted(self) -> TrainingState:
        """The state to go on from, which must be that of this run."""
        return interrupted(self.last, self.config, self.datasets.digest, self.precision)

    def _resume(self, state: TrainingState) -> None:
        restore_weights(self.trainer.detector, self.last)
        self.trainer.restore(state)
        self.done = self.saved = state.step
        logger.info("resumed %s after step %d", self.last, self.done)

    def _evaluate(self, recorder: Recorder) -> None:
        detector, validation = self.trainer.result, self.datasets.validation
        self._write("model.pt")
        if validation is None:
            return
        detector.eval()
        loading = Loading(self.config.schedule.batch_size, self.config.data.workers, progress=True)
        stage, evaluation = self.config.stage, None
        if stage == "joint":
            evaluation = evaluate(detector, validation, loading)
            table, figures = format_table(evaluation.metrics), evaluation.metrics.scalars()
        else:
            proposals = self.datasets.val_proposals
            table, figures = stage_figures(detector, validation, stage, proposals, loading)
        detector.train()
        recorder.say(table)
        if self.best.add(self.done, figures):
            self._write("best.pt")
        recorder.record(self.done, figures)
        if self.config.report and evaluation is not None:
            save_run_report(self.folder, self.datasets.training, validation, evaluation)


def _require_equal_shares(config: TrainConfig, processes: Processes) -> None:
    batch, accumulate = config.schedule.batch_size, config.schedule.accumulate
    if batch % (processes.count * accumulate):
        raise ConfigError(
            f"schedule.batch_size: expected a multiple of {processes.count} processes x"
            f" {accumulate} micro-batches (schedule.accumulate), got {batch}"
        )


def _due(step: int, every: int, total: int) -> bool:
    return step == total or (every > 0 and step % every == 0)
