"""What a run leaves in its folder, and how it goes on with it."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from service.offline.__main__ import main
from tests.service.images import png

Captured = pytest.CaptureFixture[str]
# Of another data set, which has no cats.
CATEGORIES = [{"id": 5, "name": "bird"}, {"id": 6, "name": "fish"}]
MODEL = ("--device", "cpu", "--threads", "1")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder with two in it, a bad one, and one of the same name as the first below."""
    folder = tmp_path / "photographs"
    (folder / "more").mkdir(parents=True)
    (folder / "a.png").write_bytes(png(30, 45, (255, 200, 0)))
    (folder / "bad.png").write_bytes(b"junk")
    (folder / "c.png").write_bytes(png(40, 30, (204, 0, 0)))
    (folder / "more" / "a.png").write_bytes(png(30, 44, (255, 0, 0)))
    return folder


def run(model: Path, folder: Path, out: Path, *arguments: str) -> int:
    return main([str(model), str(folder), "--out", str(out), *arguments, *MODEL])


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]


def test_every_format_has_every_photograph_that_was_answered(
    tiny_path: Path, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    kinds = [f"--format={kind}" for kind in ("coco", "yolo", "csv", "labelstudio", "drawn")]
    assert run(tiny_path, photographs, out, *kinds) == 1
    names = [str(photographs / name) for name in ("a.png", "bad.png", "c.png", "more/a.png")]
    assert [line["file"] for line in lines_of(out)] == names
    images = json.loads((out / "images.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["a.png", "c.png", "more/a.png"]
    results = json.loads((out / "results.json").read_text())
    assert {each["image_id"] for each in results} == {image["id"] for image in images} == {1, 3, 4}
    assert (out / "labels" / "a.txt").read_text().split()[:2] == ["2", "0.500000"]
    assert (out / "labels" / "more" / "a.txt").read_text() != (out / "labels" / "a.txt").read_text()
    rows = list(csv.DictReader((out / "detections.csv").read_text().splitlines()))
    assert len(rows) == len(results) == 5
    tasks = json.loads((out / "labelstudio.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [names[i] for i in (0, 2, 3)]
    with Image.open(out / "drawn" / "more" / "a.jpg") as drawn:
        assert drawn.size == (44, 30)
    assert not (out / "drawn" / "bad.jpg").exists()
    (bad,) = (out / "bad.tsv").read_text().splitlines()
    assert bad.startswith(f"{names[1]}\texpected an image")


def test_the_ids_of_a_data_set_are_taken_from_its_json(
    tiny_path: Path, photographs: Path, tmp_path: Path, capsys: Captured
) -> None:
    (photographs / "bad.png").unlink()
    known: list[dict[str, object]] = [
        {"id": 70, "file_name": "a.png"},
        {"id": 71, "file_name": "more/a.png"},
    ]
    (tmp_path / "truth.json").write_text(json.dumps({"images": known, "categories": CATEGORIES}))
    options = ("--format", "coco", "--ids", str(tmp_path / "truth.json"))
    assert run(tiny_path, photographs, tmp_path / "out", *options) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {each["image_id"] for each in results} == {70}
    assert {each["category_id"] for each in results} == {5}
    said = capsys.readouterr().err
    assert "the COCO json of --ids has no image for 1 of 3: not in results.json" in said
    # Nothing is asked again when the right json is given.
    known.append({"id": 72, "file_name": "c.png"})
    (tmp_path / "truth.json").write_text(json.dumps({"images": known, "categories": CATEGORIES}))
    assert run(tiny_path, photographs, tmp_path / "out", *options, "--resume") == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {each["image_id"] for each in results} == {70}
    images = json.loads((tmp_path / "out" / "images.json").read_text())
    assert [image["id"] for image in images["images"]] == [70, 72, 71]
    assert images["categories"] == CATEGORIES


def test_a_run_that_was_cut_off_is_gone_on_with_and_ends_with_the_same_files(
    tiny_path: Path, photographs: Path, tmp_path: Path, capsys: Captured
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    kinds = ("--format", "coco", "--format", "drawn")
    assert run(tiny_path, photographs, whole, *kinds) == 1
    assert run(tiny_path, photographs, cut) == 1
    content = (cut / "detections.jsonl").read_bytes()
    # In the middle of the third line.
    (cut / "detections.jsonl").write_bytes(content[: content.rindex(b'"file"') - 40])
    capsys.readouterr()
    assert run(tiny_path, photographs, cut, *kinds, "--resume") == 1
    assert "3 answered, 1 bad, 2 of them before" in capsys.readouterr().err
    for name in ("detections.jsonl", "results.json", "images.json", "bad.tsv", "drawn/a.jpg"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "holds the detections of a run: add --resume"),
        (["--resume", "--score-threshold", "0.9"], "names another model, or another query"),
    ],
)
def test_a_folder_of_another_run_is_left_alone(
    tiny_path: Path,
    photographs: Path,
    tmp_path: Path,
    capsys: Captured,
    arguments: list[str],
    said: str,
) -> None:
    out = tmp_path / "out"
    assert run(tiny_path, photographs, out) == 1
    before = {path: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert run(tiny_path, photographs, out, *arguments) == 2
    assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_files_of_one_name_in_two_folders_have_two_places(
    tiny_path: Path, photographs: Path, tmp_path: Path
) -> None:
    named = [str(photographs / "a.png"), str(photographs / "more" / "a.png")]
    out = tmp_path / "out"
    assert main([str(tiny_path), *named, "--out", str(out), "--format", "yolo", *MODEL]) == 0
    assert sorted(path.name for path in (out / "labels").iterdir()) == ["a-2.txt", "a.txt"]
