import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.accuracy import main, served_metrics
from benchmarks.openvino_engine import OpenVinoEngine
from model.data.coco import CocoDataset
from model.evaluation.evaluation import evaluate
from model.evaluation.feeding import Loading
from model.evaluation.inference import findings
from model.evaluation.results import detection_results, in_photograph
from model.network.detector import Detector
from service.engine.engine import Engine
from service.offline.__main__ import main as detect
from tests.detectors import CLASS_NAMES, noise

SIZES = [(64, 96), (120, 75), (90, 90), (50, 133), (64, 96)]


@pytest.fixture(scope="module")
def dataset(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    """Pictures whose ground truth is half of what the detector itself finds in them."""
    root = tmp_path_factory.mktemp("pictures")
    images: list[dict[str, Any]] = []
    for number, (height, width) in enumerate(SIZES, start=1):
        pixels = noise(1, (64, 96), seed=number)[0].permute(1, 2, 0).numpy()
        Image.fromarray(pixels).resize((width, height)).save(root / f"{number}.png")
        entry = {"id": number, "file_name": f"{number}.png", "height": height, "width": width}
        images.append(entry)
    categories = [{"id": 5 * n + 5, "name": name} for n, name in enumerate(CLASS_NAMES)]
    document = {"images": images, "annotations": [], "categories": categories}
    path = root / "all.json"
    path.write_text(json.dumps(document))
    blank = CocoDataset.read(path, root)
    found = findings(detector, blank, detector.config.resize, Loading(batch_size=2))
    for finding in found:
        detections = in_photograph(finding)
        results = detection_results(finding.record.image_id, detections, blank.category_ids)
        for result in results[::2]:
            annotation = {k: result[k] for k in ("image_id", "category_id", "bbox")}
            annotation |= {"id": len(document["annotations"]) + 1}
            document["annotations"].append(annotation)
    path.write_text(json.dumps(document))
    return CocoDataset.read(path, root)


def arguments(artifact: Path, dataset: CocoDataset, *more: str) -> list[str]:
    root = dataset.records[0].path.parent
    return [str(artifact), str(root / "all.json"), str(root), "--device", "cpu", *more]


def test_what_is_served_scores_as_the_checkpoint_does_in_torch(
    artifact: Path, detector: Detector, dataset: CocoDataset
) -> None:
    served = served_metrics(Engine(artifact, "cpu", 1), dataset, batch_size=2).metrics
    expected = evaluate(detector, dataset, Loading(batch_size=2)).metrics
    assert 0.2 < expected.AP < 0.95
    assert served.summary() == pytest.approx(expected.summary(), abs=2e-3, nan_ok=True)
    assert served.boxes_per_class == expected.boxes_per_class


def test_another_runtime_scores_as_the_engine_does(artifact: Path, dataset: CocoDataset) -> None:
    engine = served_metrics(Engine(artifact, "cpu", 1), dataset, batch_size=2).metrics.summary()
    other = served_metrics(OpenVinoEngine(artifact, 1), dataset, batch_size=2).metrics.summary()
    assert other == pytest.approx(engine, abs=2e-3, nan_ok=True)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_batch_size_changes_no_figure(
    artifact: Path, dataset: CocoDataset, batch_size: int
) -> None:
    engine = Engine(artifact, "cpu", 1)
    served = served_metrics(engine, dataset, batch_size).metrics.summary()
    two = served_metrics(engine, dataset, 2).metrics.summary()
    assert served == pytest.approx(two, abs=1e-3, nan_ok=True)


def test_the_command_prints_a_table_and_writes_json(
    artifact: Path, dataset: CocoDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "served.json"
    assert main(arguments(artifact, dataset, "--batch-size", "3", "--json", str(out))) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("model small, ")
    assert all(word in printed for word in ("AP50", "cat", "s an image, of which the engine"))
    figures = json.loads(out.read_text())
    assert (figures["images"], figures["precision"]) == (len(SIZES), "float32")
    assert math.isfinite(figures["AP"])
    assert 0 < figures["engine_seconds"] < figures["seconds_per_image"]


def test_what_fpn_detect_writes_scores_as_the_model_does(
    artifact: Path, dataset: CocoDataset, tmp_path: Path
) -> None:
    root, out, figures = dataset.records[0].path.parent, tmp_path / "out", tmp_path / "figures.json"
    options = ("--format", "coco", "--ids", str(root / "all.json"), "--score-threshold", "0")
    assert detect([str(artifact), str(root), "--device", "cpu", "--out", str(out), *options]) == 0
    command = arguments(out / "results.json", dataset, "--json", str(figures))
    assert main(command) == 0
    served = served_metrics(Engine(artifact, "cpu", 1), dataset, batch_size=2).as_json()
    written = json.loads(figures.read_text())
    assert written["AP"] == pytest.approx(served["AP"], abs=2e-3)
    assert written["AP50"] == pytest.approx(served["AP50"], abs=2e-3)


def failure(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of standard error; a progress bar redraws its own."""
    return capsys.readouterr().err.splitlines()[-1]


def test_what_is_no_model_costs_one_line(
    dataset: CocoDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path / "none.onnx", dataset)) == 2
    assert failure(capsys).startswith(
        f"python -m benchmarks.accuracy: {tmp_path / 'none.onnx'}: no such file"
    )


def test_a_picture_that_the_service_refuses_is_named(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = noise(1, (64, 96))[0].permute(1, 2, 0).numpy()
    path = tmp_path / "cut.png"
    Image.fromarray(whole).save(path)
    path.write_bytes(path.read_bytes()[:-400])  # the header is whole, the pixels are not
    categories = [{"id": n, "name": name} for n, name in enumerate(CLASS_NAMES)]
    image = {"id": 1, "file_name": "cut.png", "height": 64, "width": 96}
    document = {"images": [image], "annotations": [], "categories": categories}
    (tmp_path / "all.json").write_text(json.dumps(document))
    assert main([str(artifact), str(tmp_path / "all.json"), str(tmp_path)]) == 2
    assert "cut.png: the service refuses it: the PNG image is damaged" in failure(capsys)
