"""`fpn-eval`: the COCO metrics of a detector on a data set.

fpn-eval CHECKPOINT --images DIR --annotations JSON [--batch-size 8] [--json OUT]
    --proposals           the average recall of the proposals too, of all levels and of each
    --report DIR          a page of tables and precision-recall curves
    --scales 480,640,800  detect at several scales and merge, beside each scale and its cost
    --set KEY=VALUE       change a setting of the test: rpn.post_nms_test=100
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from model.command_line import add_device, exit_status, output_file, output_folder, positive
from model.data.coco import CocoDataset
from model.evaluation.evaluation import Evaluation, evaluate, evaluate_at_scales
from model.evaluation.feeding import Loading
from model.evaluation.report import PAGE, write_report
from model.network.checkpoint import add_test_settings, load_detector, require_trained


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    return exit_status(_parser(), arguments, _evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    if options.report:
        options.report.mkdir(parents=True, exist_ok=True)
    found, dataset = _evaluated(options)
    print(f"{dataset.inventory}\n\n{found}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found.as_json(), indent=2) + "\n")
    if options.report:
        title = f"{options.checkpoint} on {options.annotations}"
        write_report(options.report, title, dataset.inventory, found)
        print(f"\n{options.report / PAGE}")


def _evaluated(options: argparse.Namespace) -> tuple[Evaluation, CocoDataset]:
    detector = load_detector(options.checkpoint, options.set).to(options.device)
    require_trained(detector, {"rpn", "roi"}, options.checkpoint)
    dataset = CocoDataset.read(options.annotations, options.images)
    loading = Loading(options.batch_size, options.workers, progress=True)
    if options.scales:
        return evaluate_at_scales(detector, dataset, options.scales, loading), dataset
    return evaluate(detector, dataset, loading, proposals=options.proposals), dataset


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fpn-eval", description="Score a detector as COCO does.")
    parser.add_argument("checkpoint", type=Path, help="a run's model.pt or last.pt")
    parser.add_argument("--images", type=Path, required=True, help="the folder of the images")
    parser.add_argument("--annotations", type=Path, required=True, help="their COCO json")
    parser.add_argument("--batch-size", type=positive, default=8, metavar="N")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="decoding processes")
    parser.add_argument(
        "--json", type=output_file, metavar="OUT", help="write all figures to this file"
    )
    parser.add_argument(
        "--report", type=output_folder, metavar="DIR", help="write tables and curves there"
    )
    add_test_settings(parser)
    more = parser.add_mutually_exclusive_group()
    more.add_argument(
        "--proposals", action="store_true", help="score the proposals too: average recall"
    )
    more.add_argument(
        "--scales",
        type=_short_sides,
        metavar="480,640,800",
        help="detect with each of these short sides, and merge",
    )
    add_device(parser)
    return parser


def _short_sides(text: str) -> tuple[int, ...]:
    sides = tuple(sorted({positive(side) for side in text.split(",")}))
    if len(sides) < 2:
        raise argparse.ArgumentTypeError(
            f"expected two or more short sides, as 480,640,800, got {text}"
        )
    return sides


if __name__ == "__main__":
    sys.exit(main())
