"""`fpn-train`: a training run from one configuration file.

    fpn-train CONFIG [--out DIR] [--resume] [--set KEY=VALUE ...] [--device cpu|cuda]
                     [--stage joint|rpn|fast] [--init CHECKPOINT] [--freeze backbone,pyramid]

A run's folder holds `last.pt` (to go on from), `model.pt` (to export), metrics.jsonl and TensorBoard events. The
batches of an epoch are a function of the seed and the epoch, the samples come from a generator whose state is saved,
so a resumed run continues with the losses that it would have had.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import torch

from model.annotations import DataError, reason
from model.backbone import WeightsError
from model.batches import Batch, TrainingSet, plan_epoch, training_loader
from model.checkpoint import (
    CheckpointError,
    TrainingState,
    load_training,
    restore_weights,
    save_checkpoint,
    without_download,
)
from model.coco import CocoDataset
from model.config import StageName, TrainConfig
from model.config_file import ConfigError, load_config, to_mapping
from model.detector import Detector
from model.findings import Loading
from model.proposals import ProposalSet
from model.recorder import Recorder
from model.resumption import differences
from model.stage_evaluation import stage_figures
from model.stages import begin_stage
from model.trainer import DivergedError, Trainer

logger = logging.getLogger(__name__)


class RunError(ValueError):
    """A run that cannot start or go on; the message says why and what to do."""


class Run:
    """A training run: its data, its trainer, its folder and how far it is.

    Args:
        config: the run's.
        folder: where it writes.
        device: "cpu" or "cuda".
        resume: go on from the folder's last checkpoint.

    Raises:
        RunError, CheckpointError, DataError, WeightsError: see their messages.
    """

    def __init__(self, config: TrainConfig, folder: Path, device: str, resume: bool) -> None:
        self.config, self.folder = config, folder
        data = config.data
        self.training = CocoDataset.read(
            data.root / data.train_annotations,
            data.root / data.train_images,
            skip_empty=data.skip_empty,
            verify=data.verify,
        )
        logger.info("training on %s", self.training.report)
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
        self.trainer = Trainer(detector, config)
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
        config, total = self.config, self.config.schedule.steps
        with Recorder(self.folder, self.done, total) as recorder:
            started = time.perf_counter()
            for batch in self._batches():
                values = self.trainer.step(self.done, batch)
                self.done += 1
                now = time.perf_counter()
                recorder.step(self.done, values, len(batch.gt_boxes) / (now - started))
                # In this order: a run that is stopped in between goes on from before its evaluation.
                if _due(self.done, config.eval_every, total):
                    self._evaluate(recorder)
                if _due(self.done, config.checkpoint_every, total):
                    self._save()
                started = time.perf_counter()

    def _batches(self) -> Iterator[Batch]:
        """The batches from step `done` on, epoch after epoch, until the last step."""
        data, schedule = self.config.data, self.config.schedule
        resize = self.config.model.resize
        training_set = TrainingSet(
            self.training,
            resize,
            self.train_proposals,
            self.config.model.rpn.post_nms_train,
        )
        sizes = [record.size for record in self.training.records]
        short_sides = data.short_sides or (resize.short_side,)
        step, epoch = 0, 0
        while step < schedule.steps:
            plan = plan_epoch(
                sizes,
                seed=self.config.seed,
                epoch=epoch,
                batch_size=schedule.batch_size,
                short_sides=short_sides,
                flip=data.flip,
            )
            plan = plan[: schedule.steps - step]
            remaining = plan[max(0, self.done - step) :]
            if remaining:
                yield from training_loader(training_set, remaining, data.workers)
            step, epoch = step + len(plan), epoch + 1

    def _save(self) -> None:
        trainer = self.trainer
        state = TrainingState(
            config=to_mapping(self.config),
            step=self.done,
            data_digest=self._data_digest(),
            optimizer=trainer.optimizer.state_dict(),
            scaler=trainer.scaler.state_dict(),
            generator=trainer.generator.get_state(),
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
        self.trainer.generator.set_state(state.generator)
        self.done = state.step
        logger.info("resumed %s after step %d", self.last, self.done)

    def _evaluate(self, recorder: Recorder) -> None:
        detector = self.trainer.detector
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


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        config = load_config(options.config, (*options.set, *_stage_settings(options)))
        folder = options.out or Path("runs") / config.name
        if options.device == "cuda" and not torch.cuda.is_available():
            raise RunError("--device cuda: torch finds no CUDA device here; use --device cpu")
        Run(config, folder, options.device, options.resume).execute()
    except (
        CheckpointError,
        ConfigError,
        DataError,
        DivergedError,
        OSError,
        RunError,
        WeightsError,
    ) as error:
        print(f"fpn-train: {reason(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "fpn-train: interrupted; --resume goes on from last.pt, if there is one",
            file=sys.stderr,
        )
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fpn-train", description="Train an FPN Faster R-CNN.")
    parser.add_argument("config", type=Path, help="TOML or JSON file; see model/configs")
    parser.add_argument("--out", type=Path, help="the run's folder (default: runs/<name>)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="win over the file, e.g. --set schedule.steps=200",
    )
    parser.add_argument("--stage", choices=get_args(StageName), help="train one stage alone")
    parser.add_argument("--init", metavar="CHECKPOINT", help="take over the parts of it that fit")
    parser.add_argument("--freeze", metavar="PARTS", help="keep fixed, e.g. backbone,pyramid")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, choices=["cpu", "cuda"])
    return parser


def _stage_settings(options: argparse.Namespace) -> list[str]:
    """The options that are settings of the configuration, as `--set` would give them."""
    settings = []
    if options.stage:
        settings.append(f"stage={json.dumps(options.stage)}")
    if options.init:
        settings.append(f"init={json.dumps(options.init)}")
    if options.freeze:
        settings.append(f"freeze={json.dumps(options.freeze.split(','))}")
    return settings


def _proposals(path: Path | None, dataset: CocoDataset | None) -> ProposalSet | None:
    return None if path is None or dataset is None else ProposalSet.read(path, dataset)


def _validation_set(config: TrainConfig) -> CocoDataset | None:
    data = config.data
    if data.val_annotations is None or data.val_images is None:
        return None
    return CocoDataset.read(
        data.root / data.val_annotations, data.root / data.val_images, verify=data.verify
    )


def _due(step: int, every: int, total: int) -> bool:
    return step == total or (every > 0 and step % every == 0)


if __name__ == "__main__":
    sys.exit(main())
