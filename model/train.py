"""`fpn-train`: a training run from one configuration file, or from a folder of labelled photographs.

    fpn-train --data FOLDER --out DIR
    fpn-train CONFIG [--out DIR] [--resume] [--set KEY=VALUE ...] [--device cpu|cuda] [--dry-run] [--stop-after 2h]
                     [--stage joint|rpn|fast] [--init CHECKPOINT] [--freeze backbone,pyramid]
    torchrun --nproc-per-node 2 -m model.train CONFIG ...

A run's folder holds `last.pt` (to go on from), `model.pt` (the last detector) and `best.pt` (the best, to export),
metrics.jsonl and TensorBoard events. A run that is interrupted, by SIGINT or SIGTERM, is saved first. With torchrun
several processes share each batch; only the first of them writes.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from model.command_line import add_device, duration, exit_status, output_folder
from model.config.files import load_config
from model.config.training import StageName, TrainConfig
from model.curation.begin import CONFIG, begin
from model.errors import Refused
from model.training.dry_run import describe
from model.training.precision import precision_for
from model.training.processes import Processes, joined
from model.training.run import Run


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong; 130 or 143 after a signal."""
    interrupted = "interrupted; --resume goes on from last.pt, if there is one"
    return exit_status(_parser(), arguments, _train, interrupted=interrupted)


def _train(options: argparse.Namespace) -> None:
    with joined(options.device) as processes:
        logging.basicConfig(
            level=logging.WARNING if processes.rank else logging.INFO, format="%(message)s"
        )
        path = _begun(options, processes) if options.data else options.config
        config = load_config(path, (*options.set, *_stage_settings(options)))
        _execute(config, options, processes)


def _begun(options: argparse.Namespace, processes: Processes) -> Path:
    """The configuration of a run on `--data`: the one that it was begun with, or one that is chosen now."""
    if options.out is None:
        raise Refused("--data FOLDER needs --out DIR, where the configuration is written")
    path: Path = options.out / CONFIG
    if not options.resume and path.exists():
        raise Refused(f"{path} exists: train with it (fpn-train {path}), or give another --out")
    if not path.exists() and processes.rank == 0:
        begin(options.data, options.out, gpu=options.device == "cuda")
    processes.wait()
    return path


def _execute(config: TrainConfig, options: argparse.Namespace, processes: Processes) -> None:
    """This process's part of the run, or of what --dry-run says of it; the first of them speaks."""
    folder = options.out or output_folder(f"runs/{config.name}")
    device = f"cuda:{processes.local_rank}" if options.device == "cuda" else options.device
    precision = precision_for(config.precision, device)
    run = Run(config, folder, device, precision, options.resume, processes)
    if not options.dry_run:
        run.execute(options.stop_after)
        return
    description = describe(run)
    if processes.rank == 0:
        print(description)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fpn-train", description="Train an FPN Faster R-CNN.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("config", type=Path, nargs="?", help="TOML or JSON file; see model/recipes")
    what.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="labelled photographs in any format: chooses a configuration and writes it into --out",
    )
    parser.add_argument("--out", type=output_folder, help="the run's folder (default: runs/<name>)")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what the run would be and take, write nothing"
    )
    parser.add_argument(
        "--stop-after",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="save and end after so long, e.g. 2h; --resume goes on",
    )
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
    add_device(parser)
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


if __name__ == "__main__":
    sys.exit(main())
