"""`fpn-import`, `python -m model.importers PROJECT WEIGHTS OUT`: another project's weights become a checkpoint."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from model.command_line import exit_status, output_file, positive
from model.errors import Refused
from model.importers.detectron2 import import_detectron2, read_detectron2
from model.importers.published import published_file
from model.importers.torchvision import import_torchvision
from model.network.checkpoint import save_checkpoint
from model.network.detector import Detector
from model.network.torch_file import read_torch_file
from model.text_files import read_text

COCO = "torchvision://coco"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    return exit_status(_parser(), arguments, _import)


def _import(options: argparse.Namespace) -> None:
    try:
        detector = _imported(options)
    except Refused as error:
        raise Refused(f"{options.weights}: {error}") from None
    save_checkpoint(options.out, detector)
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    print(
        f"{options.out}: {detector.config.backbone.name}, {len(detector.class_names)} classes,"
        f" {parameters / 1e6:.1f} M parameters"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fpn-import", description="Turn another project's Faster R-CNN FPN into a checkpoint."
    )
    projects = parser.add_subparsers(dest="project", required=True, metavar="PROJECT")
    torchvision = projects.add_parser(
        "torchvision", help="a state dict of fasterrcnn_resnet50_fpn, old or new"
    )
    torchvision.add_argument(
        "--norm-epsilon",
        type=float,
        default=0.0,
        help="0 for the published COCO file and what was trained on from it (default); 1e-5 for a model trained from"
        " ImageNet weights",
    )
    detectron2 = projects.add_parser(
        "detectron2", help="faster_rcnn_R_50_FPN or R_101_FPN, .pkl or .pth"
    )
    torchvision.add_argument(
        "weights", help=f"the file, or {COCO} to download the published one once"
    )
    detectron2.add_argument("weights", help="the file")
    for project in (torchvision, detectron2):
        project.add_argument(
            "out", type=output_file, help="the checkpoint, e.g. runs/coco/model.pt"
        )
        project.add_argument(
            "--classes",
            type=Path,
            help="names, one a line, in label order and without the background; not needed for COCO's",
        )
        _add_settings(project)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds what a model may have been built with and no state dict says."""
    group = parser.add_argument_group(
        "settings", "of the model, where they are not its project's defaults: weights do not tell"
    )
    group.add_argument(
        "--anchors", type=_numbers, metavar="8,16,..", help="a size a level, finest first"
    )
    group.add_argument("--ratios", type=_numbers, metavar="0.5,1,2", help="height / width")
    group.add_argument("--min-size", type=positive, metavar="N", help="the shorter side's (800)")
    group.add_argument("--max-size", type=positive, metavar="N", help="the longer side's (1333)")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting of the detector, e.g. pixels.mean=[0.5,0.5,0.5]",
    )


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected numbers, as 8,16,32,64,128, got {text}"
        ) from None


def _settings(options: argparse.Namespace) -> list[str]:
    keys = {
        "anchors.sizes": options.anchors,
        "anchors.ratios": options.ratios,
        "resize.short_side": options.min_size,
        "resize.max_side": options.max_size,
    }
    given = [f"{key}={json.dumps(value)}" for key, value in keys.items() if value is not None]
    return [*given, *options.set]


def _imported(options: argparse.Namespace) -> Detector:
    lines = read_text(options.classes).splitlines() if options.classes else []
    names = tuple(line.strip() for line in lines if line.strip())
    if options.project == "detectron2":
        content = read_detectron2(Path(options.weights))
        return import_detectron2(content, names, _settings(options))
    path = published_file() if options.weights == COCO else Path(options.weights)
    content = read_torch_file(path)
    return import_torchvision(content, names, options.norm_epsilon, _settings(options))


if __name__ == "__main__":
    sys.exit(main())
