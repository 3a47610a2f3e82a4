"""`fpn-export`, `python -m export CHECKPOINT --out FILE`: a checkpoint becomes an artifact."""

import argparse
import json
import sys
from pathlib import Path

from export.artifact import UnfitDetector, write_artifact
from export.manifest import Provenance
from export.parity import ParityError
from model.checkpoint import CheckpointError, load_detector
from model.transforms import UnreadableImage

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class OptionError(ValueError):
    """A command-line value that cannot be used."""


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0, 1 if the graph does not answer as torch does, 2 for input that cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        detector = load_detector(options.checkpoint)
        provenance = Provenance(
            name=options.name or options.checkpoint.resolve().parent.name,
            version=options.version,
            license=options.license,
            data=options.data,
            accuracy=_accuracy(options.accuracy),
        )
        report = write_artifact(detector, options.out, provenance, _photographs(options.images))
    except ParityError as error:
        print(f"fpn-export: {options.out} not written: {error}", file=sys.stderr)
        return 1
    except (CheckpointError, OptionError, OSError, UnfitDetector, UnreadableImage) as error:
        print(f"fpn-export: {error}", file=sys.stderr)
        return 2
    print(f"torch against ONNX Runtime:\n{report}")
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, {provenance.name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fpn-export", description="Turn a checkpoint into a verified ONNX artifact."
    )
    parser.add_argument("checkpoint", type=Path, help="model.pt or last.pt of fpn-train")
    parser.add_argument("--out", type=Path, required=True, help="the artifact, e.g. model.onnx")
    parser.add_argument("--name", default="", help="of the model (default: the run's folder)")
    parser.add_argument("--version", default="", help="default: a digest of the weights")
    parser.add_argument("--license", default="", help="of the weights, for the manifest")
    parser.add_argument("--data", default="", help="what the weights were trained on")
    parser.add_argument("--accuracy", type=Path, help="JSON of fpn-eval --json, for the manifest")
    parser.add_argument(
        "--images", type=Path, help="folder of photographs to compare on, beside made pictures"
    )
    return parser


def _accuracy(path: Path | None) -> dict[str, float]:
    """The scalar metrics of a file that `fpn-eval --json` wrote."""
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {name: value for name, value in values.items() if isinstance(value, int | float)}
    except (OSError, ValueError, AttributeError) as error:
        raise OptionError(
            f"--accuracy {path}: expected the JSON of fpn-eval, got {error}"
        ) from None


def _photographs(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise OptionError(f"--images {folder}: expected a folder of photographs, found none there")
    return found


if __name__ == "__main__":
    sys.exit(main())
