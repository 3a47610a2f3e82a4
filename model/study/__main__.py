"""The study of the paper's tables 1, 2, 3 and 5 on a small data set: `make ablation`, docs/ablations.md.

    python -m model.study --data AQUARIUM --weights hub|FILE [--only table1c-s0 ...] [--list]

Rows run one after the other, those that carry the claim first. A finished row is one small JSON in docs/study, in a
folder named as the data set's; it is done again only when its configuration, its data or a row that it builds on has
changed. A row that was interrupted goes on from its last checkpoint. What rows hand to each other (proposals, weights)
lies in runs/study and is made again where it is missing.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from model.command_line import add_device, exit_status
from model.errors import Refused
from model.study.page import write_page
from model.study.study import Study


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    interrupted = "interrupted; the same command goes on from here"
    return exit_status(_parser(), arguments, _study, interrupted=interrupted)


def _study(options: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    overrides = (f"data.root={json.dumps(str(options.data))}", *options.set)
    overrides += (f"model.backbone.weights={json.dumps(options.weights)}",)
    name = options.data.resolve().name
    results = options.results or Path("docs/study") / name
    runs = options.runs or Path("runs/study") / name
    study = Study(runs, results, overrides, options.device)
    unknown = sorted(set(options.only) - study.rows.keys())
    if unknown:
        raise Refused(f"--only {' '.join(unknown)}: expected some of {' '.join(study.rows)}")
    for key in options.only or study.rows:
        if options.list:
            done = study.result(key).get("config_digest") == study.digest(key)
            print(f"{key:16} {'done' if done else 'to do'}")
            continue
        study.ensure(key)
        write_page(results, options.page, name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model.study", description="Run the paper's ablations.")
    parser.add_argument("--data", type=Path, required=True, help="root of the data set")
    parser.add_argument("--weights", default="hub", help="ImageNet weights: hub, or a file")
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help="e.g. table1c-s0")
    parser.add_argument("--list", action="store_true", help="say which rows are done")
    parser.add_argument("--runs", type=Path, help="default: runs/study/NAME_OF_DATA")
    parser.add_argument("--results", type=Path, help="default: docs/study/NAME_OF_DATA")
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    add_device(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
