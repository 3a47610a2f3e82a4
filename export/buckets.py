"""The artifact's buckets: the checkpoint's, or chosen for the images that are to be served.

--buckets auto                     the default frames of the checkpoint's resize rule
--buckets auto --data COCO_JSON    the few frames that pad the images of this data set least
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from export.bucket_search import best_buckets, padding_share
from model.config.resize import ResizeRule, Size
from model.data.annotations import read_document
from model.errors import Refused

# Each costs warm-up, and parts what arrives into batches of its own.
MAX_BUCKETS = 6


class BucketError(Refused):
    """Options that do not go together."""


def add_bucket_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `rebucketed` follows."""
    group = parser.add_argument_group("buckets", "the frames of the artifact")
    group.add_argument(
        "--buckets", choices=["auto"], help="choose them (default: the checkpoint's)"
    )
    group.add_argument("--data", type=Path, metavar="COCO_JSON", help="choose them for its images")
    group.add_argument(
        "--max-buckets", type=int, metavar="N", help=f"at most so many (default {MAX_BUCKETS})"
    )


def rebucketed(rule: ResizeRule, options: argparse.Namespace) -> tuple[ResizeRule, str]:
    """The rule with the buckets that the options ask for, and lines that tell what they are; or as it is, and none.

    Raises:
        BucketError: the options do not go together.
        DataError: the COCO json cannot be read.
    """
    for name, needed in (("data", "buckets"), ("max_buckets", "data")):
        if getattr(options, name) is not None and getattr(options, needed) is None:
            flag, other = (f"--{word.replace('_', '-')}" for word in (name, needed))
            raise BucketError(f"{flag} is of use only with {other}; give both or neither")
    if options.buckets is None:
        return rule, ""
    most = MAX_BUCKETS if options.max_buckets is None else options.max_buckets
    if most < 1:
        raise BucketError(f"--max-buckets: expected 1 or more, got {most}")
    chosen = default = rule.with_buckets()
    lines = []
    if options.data is not None:
        sizes = [(image.height, image.width) for image in read_document(options.data).images]
        if not sizes:
            raise BucketError(
                f"--data {options.data}: expected a file with images, found none there"
            )
        chosen = rule.with_buckets(best_buckets(sizes, rule, most))
        lines = [
            f"padding of the {len(sizes)} images of {options.data}, as a share of their frames:",
            _line("default buckets", default, sizes),
            _line("chosen buckets", chosen, sizes),
        ]
    return chosen, "\n".join([*lines, f"buckets, height x width: {_listed(chosen.buckets)}"])


def _line(name: str, rule: ResizeRule, sizes: Sequence[Size]) -> str:
    share = 100 * padding_share(sizes, rule)
    return f"  {name:<16} {share:5.1f} %  ({len(rule.buckets)} of them)"


def _listed(buckets: Sequence[Size]) -> str:
    return ", ".join(f"{height}x{width}" for height, width in buckets)
