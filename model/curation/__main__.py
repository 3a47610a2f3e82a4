"""`fpn-data`: what is in a folder of labelled photographs, and what is made of it before training.

    fpn-data check FOLDER [--pictures DIR]
    fpn-data split FOLDER --out DIR [--val 0.2] [--test 0.1] [--group-by REGEX] [--seed N]
    fpn-data to-coco FOLDER --out DIR

FOLDER is in any format, with or without splits (model/data/formats/splits.py), or is a file of labels.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from model.command_line import exit_status, output_folder
from model.curation.check import check, save_pictures
from model.curation.coco_file import save_document
from model.curation.splitting import divided, groups_of
from model.data.formats.splits import Split, find_splits
from model.errors import Refused


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    return exit_status(_parser(), arguments, lambda options: options.work(options))


def _check(options: argparse.Namespace) -> None:
    log = logging.getLogger("model.data")
    level = log.level
    log.setLevel(logging.ERROR)  # the inventory tells the same
    try:
        told, datasets = check(find_splits(options.folder))
    finally:
        log.setLevel(level)
    print(told)
    if options.pictures:
        print(*save_pictures(options.pictures, datasets), sep="\n")


def _split(options: argparse.Namespace) -> None:
    whole = _one(find_splits(options.folder))
    shares = {"train": 1.0, "val": options.val} | ({"test": options.test} if options.test else {})
    groups = groups_of(whole.document, whole.images, options.group_by)
    for name, document in divided(whole.document, groups, shares, options.seed).items():
        _save(
            options.out / f"{name}.json", Split(name, "coco", whole.source, whole.images, document)
        )
    print(f"images start from {whole.images}; {len(groups)} groups were kept whole")


def _to_coco(options: argparse.Namespace) -> None:
    for split in find_splits(options.folder):
        _save(options.out / f"{split.name}.json", split)
        print(f"its images start from {split.images}")


def _save(path: Path, split: Split) -> None:
    save_document(path, split.document, split.images, split.images)
    images, boxes = len(split.document.images), len(split.document.annotations)
    print(f"{path}: {images} images, {boxes} boxes")


def _one(splits: Sequence[Split]) -> Split:
    if len(splits) > 1:
        names = ", ".join(split.name for split in splits)
        raise Refused(f"{splits[0].source}: is split already, into {names}: give one of them")
    return splits[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fpn-data", description="Look at labelled photographs, split them, convert them."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check_parser = commands.add_parser("check", help="what is in it, and what is wrong with it")
    check_parser.add_argument(
        "--pictures", type=output_folder, metavar="DIR", help="draw some with their boxes"
    )
    split_parser = commands.add_parser("split", help="train.json, val.json (test.json) of one set")
    split_parser.add_argument("--val", type=_share, default=0.2, help="share of validation (0.2)")
    split_parser.add_argument("--test", type=_share, default=0.0, help="share of test (none)")
    split_parser.add_argument(
        "--group-by",
        default="",
        metavar="REGEX",
        help="names a photograph's group by its file name, e.g. '^(.*)_frame'; without it photographs of the same"
        " picture stay together",
    )
    split_parser.add_argument("--seed", type=int, default=0)
    coco_parser = commands.add_parser("to-coco", help="a COCO json for each split")
    for command, work in ((check_parser, _check), (split_parser, _split), (coco_parser, _to_coco)):
        command.add_argument("folder", type=Path, help="labelled photographs in any format")
        command.set_defaults(work=work)
    for command in (split_parser, coco_parser):
        command.add_argument("--out", type=output_folder, required=True, metavar="DIR")
    return parser


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
