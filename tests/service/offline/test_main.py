"""`fpn-detect` on a model file, with the tiny model: what it prints, and what it says of bad input."""

import json
from pathlib import Path

import pytest

from service.offline.__main__ import main
from tests.service.images import png

Captured = pytest.CaptureFixture[str]
# On a model file, on one thread.
MODEL = ("--device", "cpu", "--threads", "1")


@pytest.fixture
def photographs(tmp_path: Path) -> list[str]:
    """Two that share a frame, a broken file between them, and one of another frame."""
    contents = [png(30, 45, (255, 200, 0)), b"junk", png(30, 40, (51, 0, 0)), png(40, 30)]
    paths = [tmp_path / f"{index}.png" for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return [str(path) for path in paths]


def answered(capsys: Captured, *arguments: object) -> tuple[int, list[dict[str, object]]]:
    code = main([*map(str, arguments), *MODEL, "--format", "jsonl"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(capsys: Captured, *arguments: object) -> str:
    """The one line of a command that cannot be done."""
    assert main([*map(str, arguments), *MODEL]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_detections_and_the_seconds_of_every_stage_are_printed(
    tiny_path: Path, photographs: list[str], capsys: Captured
) -> None:
    arguments = [str(tiny_path), photographs[0], "--score-threshold", "0.6", "--repeat", "2"]
    assert main([*arguments, *MODEL]) == 0
    title, image, found, seconds = capsys.readouterr().out.splitlines()
    assert title.startswith("tiny 0123456789ab, float32, on ")
    assert image == f"{photographs[0]}: 45 x 30"
    assert found == "  1.0000  bird  [11.25, 15.0, 33.75, 30.0]  P3"
    assert seconds.split()[::3] == ["decode", "place", "inference", "reply"]


def test_a_bad_file_is_one_line_and_the_others_are_answered_in_order(
    tiny_path: Path, photographs: list[str], capsys: Captured
) -> None:
    missing, empty = tiny_path.parent / "none.png", Path(photographs[0]).with_name("empty.png")
    empty.write_bytes(b"")
    named = [*photographs, str(missing), str(empty)]
    code = main([str(tiny_path), *named, *MODEL, "--format", "jsonl"])
    out, err = capsys.readouterr()
    assert code == 1
    junk, none, nothing = err.splitlines()
    assert f"{photographs[1]}: expected an image" in junk
    assert none.endswith(f"{missing}: No such file or directory")
    assert nothing.endswith(f"{empty}: the file is empty")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["file"] for line in lines] == named
    assert ["error" in line for line in lines] == [False, True, False, False, True, True]


def test_images_of_one_frame_run_together_and_change_no_answer(
    tiny_path: Path, photographs: list[str], capsys: Captured
) -> None:
    good = [photographs[0], *photographs[2:]]
    code, alone = answered(capsys, tiny_path, *good)
    assert code == 0
    assert answered(capsys, tiny_path, *good, "--batch", 2) == (0, alone)
    timed = answered(capsys, tiny_path, *good, "--batch", 2, "--repeat", 3)[1]
    seconds = [line.pop("seconds") for line in timed]
    assert timed == alone
    # The first and the second have run in one batch.
    inferences = [each["inference"] for each in seconds if isinstance(each, dict)]
    assert inferences[0] == inferences[1] != inferences[2]


def test_a_folder_a_pattern_and_a_file_of_it_are_each_photograph_once(
    tiny_path: Path, photographs: list[str], capsys: Captured
) -> None:
    folder = Path(photographs[0]).parent
    Path(photographs[1]).unlink()
    (folder / "notes.txt").write_text("no photograph")
    code, lines = answered(capsys, tiny_path, photographs[2], f"{folder}/*.png", folder)
    assert code == 0
    assert [line["file"] for line in lines] == [photographs[i] for i in (2, 0, 3)]


def test_csv_has_a_row_for_each_detection(
    tiny_path: Path, photographs: list[str], capsys: Captured
) -> None:
    assert main([str(tiny_path), photographs[0], *MODEL, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "file,label,category_id,score,x1,y1,x2,y2,level",
        f"{photographs[0]},bird,16,1.0,11.25,15.0,33.75,30.0,P3",
        f"{photographs[0]},cat,17,0.5,0.0,0.0,45.0,30.0,P5",
    ]


def test_a_class_and_a_most_are_asked_of_the_model(
    tiny_path: Path, photographs: list[str], capsys: Captured
) -> None:
    _, (line,) = answered(capsys, tiny_path, photographs[0], "--class", "cat")
    assert [each["label"] for each in line["detections"]] == ["cat"]  # type: ignore[attr-defined]
    _, (line,) = answered(capsys, tiny_path, photographs[0], "--max-detections", 1)
    assert [each["label"] for each in line["detections"]] == ["bird"]  # type: ignore[attr-defined]


def test_a_model_that_cannot_be_used_is_one_line_and_exit_code_2(
    tmp_path: Path, photographs: list[str], capsys: Captured
) -> None:
    said = refused(capsys, tmp_path / "none.onnx", *photographs)
    assert said.endswith("none.onnx: no such file; expected a model that fpn-export wrote\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch", "2049"], "--batch: expected at most 2048, which is what the model takes; got"),
        (["--score-threshold", "best"], "score_threshold: this model says none for best"),
        (["--class", "unicorn"], "classes: no 'unicorn'; known are"),
        (["--resume"], "--resume: expected the --out of the run"),
        (["--format", "yolo"], "--format yolo: expected --out FOLDER"),
        (["--format", "csv", "--format", "coco"], "--format: expected one on standard output"),
        (["--out", "FOLDER", "--format", "table"], "--format table: expected no --out"),
        (["--ids", "/nowhere.json"], "--ids: /nowhere.json: No such file"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_exit_code_2(
    tiny_path: Path,
    tmp_path: Path,
    photographs: list[str],
    capsys: Captured,
    arguments: list[str],
    said: str,
) -> None:
    given = [str(tmp_path / "out") if each == "FOLDER" else each for each in arguments]
    assert refused(capsys, tiny_path, *photographs, *given).startswith(f"fpn-detect: {said}")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--batch", "0", "expected a whole number, 1 or more; got '0'"),
        ("--repeat", "-1", "expected a whole number, 1 or more; got '-1'"),
        ("--score-threshold", "nan", "expected a number from 0 to 1, or best; got 'nan'"),
        ("--device", "tpu", "invalid choice: 'tpu'"),
    ],
)
def test_a_bad_option_is_explained(
    tiny_path: Path, photographs: list[str], capsys: Captured, option: str, value: str, said: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main([str(tiny_path), *photographs, f"{option}={value}"])
    assert left.value.code == 2
    assert said in capsys.readouterr().err
