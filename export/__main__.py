"""`fpn-export`, `python -m export CHECKPOINT --out FILE`: a checkpoint becomes an artifact."""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from export.artifact import Order, Outcome, write_artifact
from export.buckets import add_bucket_options, rebucketed
from export.golden import MAX_BYTES, golden_photographs
from export.manifest import Provenance, Stored
from export.measured import Measured, read_measured
from export.parity import ParityError
from export.photographs import calibration_photographs, photographs_in
from export.precision.accuracy import AccuracyError
from model.command_line import exit_status, output_file
from model.config.class_names import is_name
from model.errors import Refused
from model.network.checkpoint import add_test_settings, read_checkpoint
from model.network.detector import Detector

# The exit status where the artifact, and not the input, is at fault.
MISSED = 1


class OptionError(Refused):
    """Command-line values that cannot be used, alone or together."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 if the artifact misses its gate, 2 for input that cannot be used."""
    return exit_status(_parser(), arguments, _export)


def _export(options: argparse.Namespace) -> int:
    _say_progress()
    order = _order(options)
    checkpoint = read_checkpoint(options.checkpoint, options.set)
    resize, chosen = rebucketed(checkpoint.config.resize, options)
    detector = checkpoint.detector(replace(checkpoint.config, resize=resize))
    if chosen:
        print(chosen)
    provenance = Provenance(
        name=_named("--name", options.name or options.checkpoint.resolve().parent.name),
        version=options.version and _named("--version", options.version),
        license=options.license,
        data=options.trained_on,
        recipe=options.recipe or checkpoint.recipe,
        source=options.source,
        measured=_measured(options.accuracy, detector),
    )
    try:
        outcome = write_artifact(detector, options.out, provenance, order)
    except (ParityError, AccuracyError) as error:
        print(f"fpn-export: {options.out} not written: {error}", file=sys.stderr)
        return MISSED
    _tell(outcome)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, {provenance.name}")
    return 0


def _named(option: str, text: str) -> str:
    """The text, which a server must be able to show."""
    if not is_name(text):
        raise OptionError(
            f"{option}: expected printable characters without white space at the ends, got {text!a}"
        )
    return text


def _say_progress() -> None:
    """Shows what export/ logs, and of the libraries that it uses only warnings: they tell of every node."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("export").setLevel(logging.INFO)


def _tell(outcome: Outcome) -> None:
    print(f"torch against ONNX Runtime:\n{outcome.reports['float32']}")
    if "stored" in outcome.reports:
        print(f"the same with the weights that float16 rounds:\n{outcome.reports['stored']}")
    if "float16" in outcome.reports:
        print(f"computed in float16:\n{outcome.reports['float16']}")
    judgement = outcome.made.judgement
    if judgement.gate == "accuracy":
        print("int8 against float32, in points of 100:")
        print("\n".join(f"  {name:<22} {value:g}" for name, value in judgement.report.items()))
    if judgement.gate != "parity":
        print(f"  {'layers in float32':<22} {len(judgement.float_layers)}")
    if judgement.gate == "off":
        print("the accuracy gate is off: nobody measured what int8 costs; the server will say so")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fpn-export", description="Turn a checkpoint into a verified ONNX artifact."
    )
    parser.add_argument("checkpoint", type=Path, help="model.pt or last.pt of fpn-train")
    parser.add_argument(
        "--out", type=output_file, required=True, help="the artifact, e.g. model.onnx"
    )
    parser.add_argument("--name", default="", help="of the model (default: the run's folder)")
    parser.add_argument("--version", default="", help="default: a digest of the weights")
    parser.add_argument("--license", default="", help="of the weights, for the manifest")
    parser.add_argument("--trained-on", default="", help="what data, for the manifest")
    parser.add_argument(
        "--recipe", default="", help="how it was trained, if the checkpoint does not say"
    )
    parser.add_argument("--source", default="", help="what weights training began from")
    parser.add_argument("--accuracy", type=Path, help="JSON of fpn-eval --json, for the manifest")
    parser.add_argument(
        "--golden",
        type=Path,
        nargs="+",
        default=[],
        metavar="JPEG",
        help=f"photographs that the file carries with its answers, {MAX_BYTES // 1024} KiB together",
    )
    parser.add_argument(
        "--store",
        choices=get_args(Stored),
        default="float32",
        help="the type of large float weights in the file; float16 halves it",
    )
    parser.add_argument(
        "--images", type=Path, help="folder of photographs to compare on, beside made images"
    )
    add_test_settings(parser)
    _add_precision(parser)
    add_bucket_options(parser)
    return parser


def _add_precision(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "precision",
        "float32; float16 for CUDA; int8 for CPUs, calibrated and judged on photographs",
    )
    group.add_argument("--precision", choices=["float32", "float16", "int8"], default="float32")
    group.add_argument(
        "--calibration", type=Path, metavar="FOLDER_OR_JSON", help="photographs for int8's ranges"
    )
    group.add_argument(
        "--calibration-images", type=Path, metavar="DIR", help="those of the COCO json"
    )
    group.add_argument(
        "--eval-data", type=Path, metavar="JSON", help="COCO json that int8 is judged on"
    )
    group.add_argument("--eval-images", type=Path, metavar="DIR", help="its photographs")
    group.add_argument(
        "--accuracy-gate", choices=["on", "off"], default="on", help="off: int8 is not judged"
    )


def _order(options: argparse.Namespace) -> Order:
    """What the options ask for; refuses what does not go together."""
    photographs = photographs_in(options.images) if options.images else []
    golden = golden_photographs(options.golden)
    if options.precision != "int8":
        given = [
            name for name in ("calibration", "eval_data", "eval_images") if vars(options)[name]
        ]
        if given:
            raise OptionError(
                f"--{given[0].replace('_', '-')} is for --precision int8; this is {options.precision}"
            )
        return Order(options.precision, options.store, photographs, golden)
    if options.store != "float32":
        raise OptionError(
            f"--store {options.store} is for float32 and float16; int8's weights have 8 bits, and little is left beside"
        )
    if options.calibration is None:
        raise OptionError(
            "--precision int8 needs --calibration FOLDER_OR_JSON: photographs like those that are served"
        )
    judged = options.eval_data is not None and options.eval_images is not None
    if judged == (options.accuracy_gate == "off"):
        raise OptionError(
            "--precision int8 needs --eval-data JSON and --eval-images DIR, which it is judged on, or"
            " --accuracy-gate off, but not both"
        )
    return Order(
        "int8",
        "float32",
        photographs,
        golden,
        calibration_photographs(options.calibration, options.calibration_images),
        (options.eval_data, options.eval_images) if judged else None,
    )


def _measured(path: Path | None, detector: Detector) -> Measured:
    return read_measured(path, detector.class_names, detector.level_names) if path else Measured()


if __name__ == "__main__":
    sys.exit(main())
