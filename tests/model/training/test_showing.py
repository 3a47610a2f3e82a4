"""The report of a run on coloured rectangles."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from model.data.pictures import read_image
from model.train import main
from tests.model.small import run_values

pytestmark = pytest.mark.usefixtures("one_thread")

PICTURES = {
    "batch-1.png",
    "batch-2.png",
    "curves.png",
    "labels.png",
    "confusion.png",
    "validation.png",
    "precision_recall.png",
}


@pytest.fixture(scope="module")
def report(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report's folder of a run of two steps."""
    folder = tmp_path_factory.mktemp("shown")
    values = run_values(photos, 2) | {"report": True}
    values["data"] |= {"val_annotations": "train.json", "val_images": "."}
    (folder / "run.json").write_text(json.dumps(values))
    assert main([str(folder / "run.json"), "--out", str(folder / "run"), "--device", "cpu"]) == 0
    return folder / "run" / "report"


def test_a_run_writes_every_picture_that_its_page_shows(report: Path) -> None:
    shown = set(re.findall(r"\]\(([^)]+)\)", (report / "report.md").read_text()))
    assert shown >= PICTURES
    for name in shown:
        assert np.asarray(read_image(report / name)).std() > 1, name


def test_the_page_is_one_file_that_needs_no_other(report: Path) -> None:
    page = (report / "report.html").read_text()
    shown = re.findall(r"\]\(([^)]+)\)", (report / "report.md").read_text())
    assert page.count('src="data:image/png;base64,') == len(shown)
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "<td>red</td>" in page


def test_a_drawn_batch_shows_the_photographs_with_their_boxes(report: Path) -> None:
    sheet = np.asarray(read_image(report / "batch-1.png")).astype(int)
    frame = np.array([0xE6, 0x19, 0x4B])  # of label 0
    assert (np.abs(sheet - frame).sum(axis=-1) < 10).sum() > 50
