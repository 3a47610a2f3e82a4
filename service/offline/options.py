"""The command line of `fpn-detect`."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from service.detections import AskedThreshold
from service.engine.providers import Device
from service.offline.folder import FileFormat
from service.offline.texts import TextFormat

EPILOG = """\
exit status:
  0    every photograph is answered
  1    some could not be: a line on standard error, and in FOLDER/bad.tsv, says which and why
  2    the model, the server or an option cannot be used
  3    the server answered nothing for longer than --patience; --resume goes on
  130  interrupted; --resume goes on
"""


def parser(program: str) -> argparse.ArgumentParser:
    """The options, checked one by one."""
    parser = argparse.ArgumentParser(
        program,
        description="Detections in photographs, by a server or by a model file without one.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("where", metavar="URL|MODEL", help="a server, http://..., or a model file")
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a photograph, a folder (and all below it), a pattern in quotes, a video, or - for a list on standard"
        " input, a path on each line",
    )
    parser.add_argument("-0", "--null", action="store_true", help="the list ends paths with 0")
    _add_query(parser)
    _add_output(parser)
    _add_server(parser)
    _add_model(parser)
    return parser


def is_address(where: str) -> bool:
    """Whether it is a server, rather than a model file."""
    return where.startswith(("http://", "https://"))


def _add_query(parser: argparse.ArgumentParser) -> None:
    query = parser.add_argument_group("what is asked for")
    query.add_argument(
        "--score-threshold",
        type=_threshold,
        metavar="SCORE",
        help="the least score, or best: each class's own of the best F1 (default: the model's best for all, or 0.5)",
    )
    query.add_argument("--max-detections", type=_at_least(1), metavar="N", help="of a photograph")
    query.add_argument(
        "--class", action="append", default=[], dest="classes", metavar="NAME", help="repeatable"
    )
    query.add_argument(
        "--proposals", type=_at_least(0), default=0, metavar="N", help="of each level (default: 0)"
    )
    query.add_argument(
        "--every", type=_at_least(1), default=1, metavar="N", help="frame of a video"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("what comes out")
    output.add_argument(
        "--format",
        action="append",
        default=[],
        choices=sorted({*get_args(TextFormat), *get_args(FileFormat)}),
        help="on standard output, table by default, or one of the texts; with --out repeatable, and all but table",
    )
    output.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="keep detections.jsonl there, line by line as photographs are answered, and the files of each --format",
    )
    output.add_argument("--resume", action="store_true", help="go on with what FOLDER holds")
    output.add_argument(
        "--ids",
        type=Path,
        metavar="JSON",
        help="a COCO json, whose ids of images and classes --format coco then has",
    )
    output.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_server(parser: argparse.ArgumentParser) -> None:
    server = parser.add_argument_group("of a server")
    server.add_argument(
        "--concurrency",
        type=_at_least(1),
        default=8,
        metavar="N",
        help="the most requests at once; fewer where the server says it is full (default: 8)",
    )
    server.add_argument(
        "--patience",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="without any answer, until it is given up (default: 300)",
    )
    server.add_argument(
        "--tiles",
        choices=("auto", "2", "3", "4"),
        help="parts of large photographs that are looked at, too: as many as it takes, or along the longer side",
    )
    server.add_argument("--priority", choices=("bulk", "interactive"), default="bulk")
    server.add_argument("--key-file", type=Path, metavar="FILE", help="with a key of the server's")


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("of a model file")
    model.add_argument("--device", choices=get_args(Device), default="auto")
    model.add_argument("--threads", type=_at_least(0), default=0, help="0 (default): all cores")
    model.add_argument(
        "--batch", type=_at_least(1), default=1, help="the most images that run together"
    )
    model.add_argument(
        "--repeat",
        type=_at_least(1),
        default=0,
        help="say the seconds of every stage, the median of so many times",
    )


def _at_least(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number, {least} or more; got {text!r}"
            )
        return int(text)

    return whole


def _threshold(text: str) -> AskedThreshold:
    if text == "best":
        return "best"
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, or best; got {text!r}")
    return value
