from pathlib import Path

from model.data.coco import CocoDataset
from model.evaluation.evaluation import Evaluation, evaluate, evaluate_at_scales
from model.evaluation.feeding import Loading
from model.evaluation.report import write_report
from tests.model.colours import ColourDetector
from tests.model.conftest import CocoFolder

LOADING = Loading(batch_size=2)
PLOTS = {"precision_recall.png", "precision_recall_by_class.png", "ap_by_class.png"}


def written(folder: Path, dataset: CocoDataset, found: Evaluation) -> tuple[str, set[str]]:
    """The page, and the names of the files beside it."""
    folder.mkdir()
    write_report(folder, "a title", dataset.inventory, found)
    names = {path.name for path in folder.iterdir()}
    return (folder / "report.md").read_text(), names - {"report.md", "report.html"}


def test_a_report_has_tables_and_shows_every_plot_beside_it(
    coloured: CocoFolder, tmp_path: Path
) -> None:
    coloured.document["categories"].append({"id": 9, "name": "a|b"})  # of which there is none
    dataset = coloured.read()
    detector = ColourDetector(class_names=("red", "green", "a|b"))
    found = evaluate(detector, dataset, LOADING, proposals=True)
    page, plots = written(tmp_path / "report", dataset, found)
    assert plots == PLOTS | {"average_recall.png"}
    assert all(f"({name})" in page for name in plots)
    assert page.startswith("# a title\n\n7 images (1 without boxes)")
    assert f"| detections | {100 * found.metrics.AP:.1f} |" in page
    assert "| red | " in page
    assert r"| a\|b | - | - | 0 |" in page
    assert "| P5 | " in page


def test_a_report_of_scales_has_their_table(coloured: CocoFolder, tmp_path: Path) -> None:
    dataset = coloured.read()
    found = evaluate_at_scales(ColourDetector(), dataset, (64, 192), LOADING)
    page, plots = written(tmp_path / "report", dataset, found)
    assert plots == PLOTS
    assert "| 64 + 192 | " in page


def test_a_data_set_without_boxes_has_a_report_without_plots(
    folder: CocoFolder, tmp_path: Path
) -> None:
    folder.document["categories"] = [{"id": 4, "name": "red"}, {"id": 2, "name": "green"}]
    folder.add_image("a.png", (40, 60))
    dataset = folder.read()
    page, plots = written(
        tmp_path / "report", dataset, evaluate(ColourDetector(), dataset, LOADING)
    )
    assert plots == set()
    assert "| detections | - |" in page
