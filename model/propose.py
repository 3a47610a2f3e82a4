"""`fpn-propose`: the proposals of a detector in every image of a data set, as a file for Fast R-CNN.

    fpn-propose CHECKPOINT --images DIR --annotations JSON --out FILE [--top 2000]

What the file holds and when it is refused: data/proposal_file.py. Their average recall is printed.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model.command_line import add_device, exit_status, output_file, positive
from model.config.detector import DetectorConfig
from model.data.coco import CocoDataset
from model.evaluation.feeding import Loading
from model.evaluation.single_stage import propose_all, recall
from model.evaluation.tables import text_table
from model.network.checkpoint import read_checkpoint, require_trained


def keeping(config: DetectorConfig, top: int) -> DetectorConfig:
    """The configuration of a detector that proposes up to `top` boxes an image, before and after suppression.

    The paper trains Fast R-CNN on 2,000 an image and tests it on 1,000.
    """
    before = max(top, config.rpn.pre_nms_test)
    return replace(config, rpn=replace(config.rpn, pre_nms_test=before, post_nms_test=top))


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    return exit_status(_parser(), arguments, _propose)


def _propose(options: argparse.Namespace) -> None:
    checkpoint = read_checkpoint(options.checkpoint)
    config = checkpoint.config
    detector = checkpoint.detector(keeping(config, options.top) if options.top else config)
    require_trained(detector, {"rpn"}, options.checkpoint)
    dataset = CocoDataset.read(options.annotations, options.images)
    loading = Loading(options.batch_size, progress=True)
    proposals = propose_all(detector.to(options.device), dataset, loading)
    proposals.save(options.out)
    print(text_table("proposals", {"all": recall(dataset, proposals).row()}))
    print(f"{options.out}: {len(proposals.scores)} proposals in {len(dataset)} images")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fpn-propose", description="Write a detector's proposals to a file."
    )
    parser.add_argument("checkpoint", type=Path, help="a run's model.pt or last.pt")
    parser.add_argument("--images", type=Path, required=True, help="the folder of the images")
    parser.add_argument("--annotations", type=Path, required=True, help="their COCO json")
    parser.add_argument("--out", type=output_file, required=True, help="the file, e.g. train.npz")
    parser.add_argument(
        "--top", type=positive, metavar="N", help="proposals an image (default: rpn.post_nms_test)"
    )
    parser.add_argument("--batch-size", type=positive, default=8, metavar="N")
    add_device(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
