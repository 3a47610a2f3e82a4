"""`fpn-detect`, with the tiny model: what it prints, and what it says of bad input."""

import json
from pathlib import Path

import pytest

from service.offline.__main__ import main
from tests.service.images import png

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def photographs(tmp_path: Path) -> list[str]:
    """Two that share a frame, a broken file between them, and one of another frame."""
    contents = [png(30, 45, (255, 200, 0)), b"junk", png(30, 40, (51, 0, 0)), png(40, 30)]
    paths = [tmp_path / f"{index}.png" for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return [str(path) for path in paths]


def answered(capsys: Captured, *arguments: object) -> tuple[int, list[dict[str, object]]]:
    code = main([*map(str, arguments), "--device", "cpu", "--threads", "1", "--json"])
    images: list[dict[str, object]] = json.loads(capsys.readouterr().out)["images"]
    return code, images


def test_detections_and_the_seconds_of_every_stage_are_printed(
    tiny_path: Path, photographs: list[str], capsys: Captured
) -> None:
    arguments = [str(tiny_path), photographs[0], "--threads", "1", "--score-threshold", "0.6"]
    assert main(arguments) == 0
    title, image, found, seconds = capsys.readouterr().out.splitlines()
    assert title.startswith("tiny 0123456789ab, float32, on ")
    assert image == f"{photographs[0]}: 45 x 30, frame 64 x 32, batch of 1"
    assert found == "  1.0000  bird  [11.25, 15.0, 33.75, 30.0]  P3"
    assert seconds.split()[::3] == ["decode", "place", "inference", "reply"]


def test_a_bad_file_is_one_line_and_the_others_are_answered_in_order(
    tiny_path: Path, photographs: list[str], capsys: Captured
) -> None:
    missing = str(tiny_path.parent / "none.png")
    code = main([str(tiny_path), *photographs, missing, "--threads", "1", "--json"])
    out, err = capsys.readouterr()
    assert code == 1
    junk, none = err.splitlines()
    assert f"{photographs[1]}: expected an image" in junk
    assert none.endswith(f"{missing}: No such file or directory")
    images = json.loads(out)["images"]
    assert [image["file"] for image in images] == [*photographs, missing]
    assert ["error" in image for image in images] == [False, True, False, False, True]


def test_images_of_one_frame_run_together_up_to_the_batch_that_was_asked_for(
    tiny_path: Path, photographs: list[str], capsys: Captured
) -> None:
    good = [photographs[0], *photographs[2:]]
    _, alone = answered(capsys, tiny_path, *good)
    _, together = answered(capsys, tiny_path, *good, "--batch", 2, "--repeat", 3)
    sizes = [[image.pop("batch") for image in images] for images in (alone, together)]
    wide, tall = [32, 64], [64, 32]
    assert sizes[0] == [{"size": 1, "bucket": bucket} for bucket in (wide, wide, tall)]
    assert sizes[1] == [{"size": n, "bucket": b} for n, b in ((2, wide), (2, wide), (1, tall))]
    for image in (*alone, *together):
        del image["timings_s"]
    assert alone == together


def test_a_model_that_cannot_be_used_is_one_line_and_exit_code_2(
    tmp_path: Path, photographs: list[str], capsys: Captured
) -> None:
    assert main([str(tmp_path / "none.onnx"), *photographs]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("none.onnx: no such file; expected a model that fpn-export wrote\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--batch", "2049", "--batch: expected at most 2048, which is what the model takes; got"),
        ("--score-threshold", "best", "score_threshold: this model says none for best"),
    ],
)
def test_what_the_model_does_not_have_is_one_line_and_exit_code_2(
    tiny_path: Path, photographs: list[str], capsys: Captured, option: str, value: str, said: str
) -> None:
    assert main([str(tiny_path), *photographs, "--device", "cpu", option, value]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"fpn-detect: {said}")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--batch", "0", "expected a whole number, 1 or more; got '0'"),
        ("--repeat", "-1", "expected a whole number, 1 or more; got '-1'"),
        ("--score-threshold", "nan", "expected a number from 0 to 1, or best; got 'nan'"),
        ("--device", "tpu", "invalid choice: 'tpu'"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(
    capsys: Captured, option: str, value: str, said: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["model.onnx", "a.png", f"{option}={value}"])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
