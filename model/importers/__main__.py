"""`fpn-import`, `python -m model.importers PROJECT WEIGHTS OUT`: another project's weights become a checkpoint."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from model.command_line import exit_status, output_file, positive
from model.errors import Refused
from model.importers.comparison import Peer, compared, photographs_in, told
from model.importers.detectron2 import detectron2_weights, import_detectron2, read_detectron2
from model.importers.layout import weights_of
from model.importers.mmdetection import MMDETECTION, STYLES, import_mmdetection
from model.importers.peers import detectron2_peer, mmdetection_peer, torchvision_peer
from model.importers.published import PUBLISHED, published_weights
from model.importers.torchvision import import_torchvision, model_of
from model.network.checkpoint import save_checkpoint
from model.network.detector import Detector
from model.network.torch_file import read_torch_file
from model.text_files import read_text


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    return exit_status(_parser(), arguments, _import)


def _import(options: argparse.Namespace) -> None:
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("model.importers").setLevel(logging.INFO)
    try:
        detector = _imported(options)
        if options.compare:
            print(told(list(compared(detector, _peer(options, detector), options.compare))))
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
        prog="fpn-import", description="Turn another project's Faster R-CNN into a checkpoint."
    )
    projects = parser.add_subparsers(dest="project", required=True, metavar="PROJECT")
    torchvision = projects.add_parser(
        "torchvision", help=f"a state dict of {', '.join(PUBLISHED)}, old or new"
    )
    torchvision.add_argument(
        "--norm-epsilon",
        type=float,
        help="default: what the published file of that kind has. That of fasterrcnn_resnet50_fpn has 0, and so have"
        " those that were trained on from it; say 1e-5 for one that was trained from ImageNet weights",
    )
    torchvision.add_argument(
        "--model", default="", choices=["", *PUBLISHED], metavar="NAME", help="torchvision's name"
    )
    torchvision.add_argument(
        "weights",
        help="the file, or torchvision://NAME to download the published one once, e.g. torchvision://"
        + next(iter(PUBLISHED)),
    )
    detectron2 = projects.add_parser(
        "detectron2", help="faster_rcnn_{R_50,R_101,X_101_32x8d}_FPN, R_*_C4, R_*_DC5; .pkl or .pth"
    )
    mmdetection = projects.add_parser(
        "mmdetection", help="faster_rcnn_{r50,r101,x101}_fpn of MMDetection 2 or 3, .pth"
    )
    said = mmdetection.add_mutually_exclusive_group()
    said.add_argument("--style", choices=list(STYLES), help="of the weights, where no file says it")
    said.add_argument("--config", type=Path, help="MMDetection's configuration, read and not run")
    for project in (detectron2, mmdetection):
        project.add_argument("weights", help="the file")
    for project in (torchvision, detectron2, mmdetection):
        _add_output(project)
        _add_settings(project)
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    """Adds what becomes of the weights, and what they are compared with."""
    parser.add_argument("out", type=output_file, help="the checkpoint, e.g. runs/coco/model.pt")
    parser.add_argument(
        "--classes",
        type=Path,
        help="names, one a line, in label order and without the background; not needed for COCO's",
    )
    parser.add_argument(
        "--compare",
        type=_photographs,
        default=[],
        metavar="FOLDER",
        help="ask the project's own model, where it is installed, about a folder's photographs, too",
    )


def _photographs(text: str) -> list[Path]:
    try:
        return photographs_in(Path(text))
    except Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
    if options.project == "mmdetection":
        content = read_torch_file(Path(options.weights))
        said = read_text(options.config) if options.config else options.style or ""
        return import_mmdetection(content, names, _settings(options), said)
    path, model = _published_or_own(options)
    content = read_torch_file(path)
    epsilon, settings = options.norm_epsilon, _settings(options)
    return import_torchvision(content, names, epsilon, settings, model)


def _published_or_own(options: argparse.Namespace) -> tuple[Path, str]:
    """Torchvision's file, and its name of the model where that is known."""
    return published_weights(options.weights) or (Path(options.weights), options.model)


def _peer(options: argparse.Namespace, detector: Detector) -> Peer:
    """The project's own model of the same weights, to which is told what this command was."""
    given = bool(_settings(options))
    if options.project == "detectron2":
        content = read_detectron2(Path(options.weights))
        return detectron2_peer(detector, detectron2_weights(content), given)
    if options.project == "mmdetection":
        content = read_torch_file(Path(options.weights))
        state = weights_of(content, MMDETECTION)
        return mmdetection_peer(detector, state, options.config, given)
    path, named = _published_or_own(options)
    state, model = model_of(read_torch_file(path))
    return torchvision_peer(detector, state, named or model, given)


if __name__ == "__main__":
    sys.exit(main())
