"""A checkpoint made ready to ship: large weights in float16, half the bytes.

    python -m model.pack CHECKPOINT OUT [--annotations COCO_JSON] [--recipe TEXT]

What goes on training needs float32, so `fpn-train` writes that: a step is smaller than float16 can tell.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.command_line import exit_status, output_file
from model.data.annotations import read_document
from model.errors import Refused
from model.network.checkpoint import read_checkpoint, save_checkpoint


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    return exit_status(_parser(), arguments, _pack)


def _pack(options: argparse.Namespace) -> None:
    checkpoint = read_checkpoint(options.checkpoint)
    detector = checkpoint.detector()
    if options.annotations:
        detector.category_ids = _category_ids(options.annotations, detector.class_names)
    save_checkpoint(options.out, detector, recipe=options.recipe or checkpoint.recipe, halves=True)
    before, after = (path.stat().st_size / 1e6 for path in (options.checkpoint, options.out))
    print(f"{options.out}: {after:.1f} MB, {options.checkpoint} has {before:.1f} MB")


def _category_ids(annotations: Path, names: Sequence[str]) -> tuple[int, ...]:
    """The ids that a data set gives to the classes `names`."""
    ids = {category.name: category.id for category in read_document(annotations).categories}
    unknown = sorted(set(names) - ids.keys())
    if unknown:
        raise Refused(f"{annotations}: expected the checkpoint's classes, but it has no {unknown}")
    return tuple(ids[name] for name in names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model.pack", description="Write a checkpoint with half the bytes."
    )
    parser.add_argument("checkpoint", type=Path, help="model.pt of fpn-train")
    parser.add_argument("out", type=output_file, help="the checkpoint that ships")
    parser.add_argument(
        "--annotations",
        type=Path,
        metavar="COCO_JSON",
        help="whose category ids the classes have, for a checkpoint that does not say",
    )
    parser.add_argument("--recipe", default="", help="how it was trained, if it does not say")
    return parser


if __name__ == "__main__":
    sys.exit(main())
