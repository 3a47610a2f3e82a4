import argparse
import json
from pathlib import Path

import pytest

from export.__main__ import main
from export.buckets import BucketError, add_bucket_options, rebucketed
from model.config.resize import ResizeRule
from model.data.faults import DataError
from model.network.checkpoint import save_checkpoint
from tests.detectors import small_detector

# (height, width); 3:1 has no default bucket
WIDE_IMAGES = [(60, 80), (66, 88), (30, 90)]

# It gives more sizes than it has buckets for by default.
WIDE_RULE = ResizeRule(64, 320, "floor", "bilinear", buckets=((320, 320),))


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_bucket_options(parser)
    return parser.parse_args(arguments)


def coco_json(path: Path, sizes: list[tuple[int, int]]) -> Path:
    images = [
        {"id": number, "file_name": f"{number}.jpg", "height": height, "width": width}
        for number, (height, width) in enumerate(sizes)
    ]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    return path


def test_without_the_option_the_buckets_are_the_checkpoints() -> None:
    assert rebucketed(WIDE_RULE, options()) == (WIDE_RULE, "")


def test_without_data_the_buckets_are_the_rules_default() -> None:
    rule, told = rebucketed(WIDE_RULE, options("--buckets", "auto"))
    assert rule == WIDE_RULE.with_buckets()
    assert "64x320" in told


def test_chosen_buckets_are_the_rules_and_what_they_save_is_told(tmp_path: Path) -> None:
    data = coco_json(tmp_path / "data.json", WIDE_IMAGES)
    more = ["--buckets", "auto", "--data", str(data), "--max-buckets", "4"]
    rule, lines = rebucketed(WIDE_RULE, options(*more))
    told = lines.splitlines()
    assert rule == WIDE_RULE.with_buckets(((64, 96), (64, 192), (64, 320), (320, 64)))
    assert told[0].startswith("padding of the 3 images")
    default, chosen = (float(line.split()[2]) for line in told[1:3])
    assert chosen < default
    assert told[3].endswith("64x96, 64x192, 64x320, 320x64")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "a.json"], "--data is of use only with --buckets"),
        (["--buckets", "auto", "--max-buckets", "3"], "--max-buckets is of use only with --data"),
        (["--buckets", "auto", "--data", "a.json", "--max-buckets", "0"], "expected 1 or more"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(BucketError, match=message):
        rebucketed(WIDE_RULE, options(*arguments))


def test_data_without_images_is_refused(tmp_path: Path) -> None:
    data = coco_json(tmp_path / "data.json", [])
    with pytest.raises(BucketError, match="found none there"):
        rebucketed(WIDE_RULE, options("--buckets", "auto", "--data", str(data)))
    data.write_text("[]")
    with pytest.raises(DataError, match="not a COCO file"):
        rebucketed(WIDE_RULE, options("--buckets", "auto", "--data", str(data)))


def test_the_command_says_in_one_line_what_is_wrong_with_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "model.pt", small_detector())
    arguments = [str(tmp_path / "model.pt"), "--out", str(tmp_path / "model.onnx")]
    assert main([*arguments, "--buckets", "auto", "--data", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err == (
        f"fpn-export: {tmp_path / 'none.json'}: cannot be read: No such file or directory\n"
    )
