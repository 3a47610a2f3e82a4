"""Runs the rows of the study, each on top of those that it builds on.

A finished row is one small JSON; it is done again only when its configuration, its data or a row that it builds on has
changed. A row that was interrupted goes on from its last checkpoint. What rows hand to each other (proposals, weights)
is made again where it is missing.
"""

import hashlib
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.config.files import load_config, to_mapping
from model.config.training import TrainConfig
from model.data.coco import CocoDataset
from model.data.proposal_file import ProposalSet
from model.evaluation.feeding import Loading
from model.evaluation.single_stage import propose_all, stage_figures
from model.network.checkpoint import load_detector
from model.study.rows import ROWS, StudyRow
from model.training.precision import precision_for
from model.training.resumption import RunError
from model.training.run import Run

logger = logging.getLogger(__name__)

CONFIGS = Path(__file__).parents[1] / "recipes" / "ablation"


class Study:
    """Runs rows, each on top of those that it builds on.

    Args:
        runs: folder of the runs.
        results: folder of the rows' JSON files.
        overrides: settings of every row, as for `--set`.
        device: "cpu" or "cuda".
    """

    def __init__(self, runs: Path, results: Path, overrides: tuple[str, ...], device: str) -> None:
        self.runs, self.results, self.overrides, self.device = runs, results, overrides, device
        self.rows = {row.key: row for row in ROWS}
        self._data: dict[str, CocoDataset] = {}

    def ensure(self, key: str, *, files: bool = False) -> None:
        """Run a row unless its result is there; with `files`, also what it hands to others."""
        row, digest = self.rows[key], self.digest(key)
        done = self.result(key).get("config_digest") == digest
        if done and (not files or self._has_files(row, digest)):
            logger.info("%s: done", key)
            return
        for below in row.builds_on():
            self.ensure(below, files=True)
        self._run(row, digest)

    def result(self, key: str) -> dict[str, Any]:
        """What a finished row has written; empty if it has not."""
        path = self.results / f"{key}.json"
        values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return values

    def config(self, row: StudyRow) -> TrainConfig:
        """The row's configuration: its file, the study's overrides, its seed and what it builds on."""
        settings = [*self.overrides, f"seed={row.seed}", f"name={json.dumps(row.key)}"]
        if row.proposals:
            folder = self.runs / row.proposals
            for split in ("train", "val"):
                path = json.dumps(str(folder / f"{split}.npz"))
                settings.append(f"data.{split}_proposals={path}")
        if row.init:
            settings.append(f"init={json.dumps(str(self.runs / row.init / 'model.pt'))}")
        return load_config(CONFIGS / f"{row.name}.toml", tuple(settings))

    def digest(self, key: str) -> str:
        """What a row's figures follow from: settings, data, and the same of what it builds on; no paths."""
        row = self.rows[key]
        config = self.config(row)
        values = to_mapping(config)
        values["data"] = {k: values["data"][k] for k in ("flip", "short_sides", "skip_empty")}
        values["model"]["backbone"]["weights"] = ""
        values |= {"init": None, "name": row.name, "checkpoint_every": 0}
        # What 16 bits come to is the machine's: a row that is done on one is done on every other.
        values["precision"] = "float32" if config.precision == "float32" else "mixed"
        sets = [self._dataset(config, split).digest for split in ("train", "val")]
        below = [self.digest(each) for each in row.builds_on()]
        told = json.dumps([values, sets, below], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def _run(self, row: StudyRow, digest: str) -> None:
        config, folder = self.config(row), self.runs / row.key
        begun = folder / "digest"
        if begun.exists() and begun.read_text() != digest:
            raise RunError(
                f"{folder}: the run of another configuration; move it away to run {row.key}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        begun.write_text(digest)
        started = time.perf_counter()
        logger.info("%s: %d steps", row.key, config.schedule.steps)
        resume = (folder / "last.pt").exists()
        unscored = replace(
            config,
            data=replace(config.data, val_annotations=None, val_images=None, val_proposals=None),
        )
        precision = precision_for(config.precision, self.device)
        run = Run(unscored, folder, self.device, precision, resume)
        if run.done < config.schedule.steps or not (folder / "model.pt").exists():
            run.execute()
        trained = time.perf_counter()
        figures = self._figures(config, folder)
        result = {
            "row": row.name,
            "seed": row.seed,
            "config_digest": digest,
            "metrics": figures,
            "steps": config.schedule.steps,
            "precision": precision.name,
            "seconds": round(trained - started, 1),
            "seconds_scoring": round(time.perf_counter() - trained, 1),
            "resumed": resume,
        }
        self.results.mkdir(parents=True, exist_ok=True)
        path = self.results / f"{row.key}.json"
        path.write_text(json.dumps(result, indent=2) + "\n")

    def _figures(self, config: TrainConfig, folder: Path) -> dict[str, float]:
        detector = load_detector(folder / "model.pt").to(self.device)
        loading = Loading(config.schedule.batch_size)
        val = self._dataset(config, "val")
        if config.stage == "rpn":
            for split in ("train", "val"):
                found = propose_all(detector, self._dataset(config, split), loading)
                found.save(folder / f"{split}.npz")
        given = config.data.val_proposals
        proposals = ProposalSet.read(given, val) if given else None
        table, figures = stage_figures(detector, val, config.stage, proposals, loading)
        logger.info("%s", table)
        return {name: round(value, 5) for name, value in figures.items() if "/" not in name}

    def _dataset(self, config: TrainConfig, split: str) -> CocoDataset:
        if split not in self._data:
            data = config.data
            annotations = data.train_annotations if split == "train" else data.val_annotations
            images = data.train_images if split == "train" else data.val_images
            assert annotations is not None
            assert images is not None
            self._data[split] = CocoDataset.read(data.root / annotations, data.root / images)
        return self._data[split]

    def _has_files(self, row: StudyRow, digest: str) -> bool:
        folder = self.runs / row.key
        stage = self.config(row).stage
        names = ["digest", "model.pt", *(["train.npz", "val.npz"] if stage == "rpn" else [])]
        there = all((folder / name).exists() for name in names)
        return there and (folder / "digest").read_text() == digest
