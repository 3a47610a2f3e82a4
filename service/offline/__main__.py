"""`fpn-detect MODEL IMAGES...`, or `python -m service.offline`: detections and where the time goes, without a server.

The exit status is 0, 1 when an image could not be read (the others are answered), 2 when the model,
the device or an option cannot be used.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from service.detections import AskedThreshold, Wanted, score_thresholds
from service.engine.engine import Engine
from service.engine.providers import Device
from service.errors import InvalidSettings, ServiceError
from service.offline.files import FileAnswer, Plan, Unreadable, detect_files
from service.pictures.decoding import prepare_pillow
from service.settings import Settings

PROGRAM = "fpn-detect"
MAX_PIXELS: int = Settings.model_fields["max_pixels"].default


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    prepare_pillow()
    try:
        engine = Engine(options.model, options.device, options.threads)
        _check_batch(options.batch, engine)
        thresholds = score_thresholds(options.score_threshold, engine.manifest)
    except ServiceError as error:
        print(f"{PROGRAM}: {error.detail}", file=sys.stderr)
        return 2
    wanted = Wanted(thresholds, None, None, 0, ())
    plan = Plan(wanted, MAX_PIXELS, options.batch, options.repeat)
    outcomes = detect_files(engine, options.images, plan)
    bad = [outcome for outcome in outcomes if isinstance(outcome, Unreadable)]
    for each in bad:
        print(f"{PROGRAM}: {each.path}: {each.detail}", file=sys.stderr)
    print(as_json(engine, outcomes) if options.json else as_text(engine, outcomes))
    return 1 if bad else 0


def _check_batch(batch: int, engine: Engine) -> None:
    """Raises InvalidSettings when the model takes no batch of so many."""
    most = engine.manifest.limits.max_batch
    if batch > most:
        raise InvalidSettings(
            f"--batch: expected at most {most}, which is what the model takes; got {batch}"
        )


def as_text(engine: Engine, outcomes: Sequence[FileAnswer | Unreadable]) -> str:
    """For people: the model, then each image that was answered."""
    manifest = engine.manifest
    title = f"{manifest.name} {manifest.version}, {manifest.precision}, on {engine.provider}"
    answers = [outcome for outcome in outcomes if isinstance(outcome, FileAnswer)]
    return "\n".join([title, *(_paragraph(answer) for answer in answers)])


def as_json(engine: Engine, outcomes: Sequence[FileAnswer | Unreadable]) -> str:
    """For programs: one object; `images` has an entry for each file, in order."""
    return json.dumps(
        {
            "model": {"name": engine.manifest.name, "version": engine.manifest.version},
            "provider": engine.provider,
            "placement": engine.placement,
            "images": [_entry(outcome) for outcome in outcomes],
        }
    )


def _paragraph(answer: FileAnswer) -> str:
    found, (height, width) = answer.detected, answer.reading.frame.bucket
    seconds = "  ".join(f"{stage} {s:.4f} s" for stage, s in answer.seconds.items())
    return "\n".join(
        [
            f"{answer.reading.path}: {found.width} x {found.height},"
            f" frame {width} x {height}, batch of {answer.batch_size}",
            *(
                f"  {each.score:.4f}  {each.label}  {list(each.box)}  {each.level}"
                for each in found.detections
            ),
            f"  {seconds}",
        ]
    )


def _entry(outcome: FileAnswer | Unreadable) -> dict[str, Any]:
    if isinstance(outcome, Unreadable):
        return {"file": str(outcome.path), "error": outcome.detail}
    found = asdict(outcome.detected)
    return {
        "file": str(outcome.reading.path),
        **{key: found[key] for key in ("width", "height", "detections")},
        "timings_s": {stage: round(s, 6) for stage, s in outcome.seconds.items()},
        "batch": {"size": outcome.batch_size, "bucket": outcome.reading.frame.bucket},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="Detections in photographs, and the seconds of every stage, without a server.",
    )
    parser.add_argument("model", type=Path, help="an exported model")
    parser.add_argument(
        "images", type=Path, nargs="+", help="files of the kinds that /detect reads"
    )
    parser.add_argument("--device", choices=get_args(Device), default="auto")
    parser.add_argument("--threads", type=_at_least(0), default=0, help="0 (default): all cores")
    parser.add_argument(
        "--score-threshold",
        type=_threshold,
        help="the least score, or best: each class's own of the best F1 (default: the model's best for all, or 0.5)",
    )
    parser.add_argument(
        "--batch", type=_at_least(1), default=1, help="the most images that run together"
    )
    parser.add_argument(
        "--repeat", type=_at_least(1), default=1, help="times of which the median is given"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    return parser


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


if __name__ == "__main__":
    sys.exit(main())
