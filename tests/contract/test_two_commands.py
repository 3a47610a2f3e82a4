"""What the README promises: two commands from a folder of labelled photographs to a served model."""

import re
import shlex
import subprocess
from pathlib import Path

import httpx
import pytest

from export.__main__ import main as export
from model.train import main as train
from tests.model.data.formats.copies import as_voc
from tests.model.small import coloured_rectangles
from tests.places import ROOT
from tests.service.process import TIME_LIMIT_S, serving

# A run of moments: fewer steps, fewer boxes and a narrow network, and no weights to download.
SHORT = (
    "model.backbone.name=resnet18",
    "model.pyramid.channels=16",
    "model.roi.fc_channels=32",
    "model.rpn.pre_nms_test=30",
    "model.rpn.post_nms_test=30",
    "precision=float32",
    "report=false",
    "model.backbone.weights=none",
    "schedule.steps=2",
    "schedule.warmup_steps=0",
    "schedule.decay_steps=[]",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the first command, on ten photographs labelled as VOC does."""
    root = tmp_path_factory.mktemp("photos")
    (root / "source").mkdir()
    coloured_rectangles(root / "source", 10)
    as_voc(root / "source", root, "photos")
    options = [part for setting in SHORT for part in ("--set", setting)]
    data = ("--data", str(root / "photos"), "--out", str(root / "run"), "--device", "cpu")
    assert train([*data, *options]) == 0
    return root / "run"


def exporting(model: Path) -> list[str]:
    """The arguments of fpn-export that `make serve` runs before it serves `model`."""
    command = ["make", "--dry-run", "serve", f"MODEL={model}"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in told.splitlines() if "fpn-export" in line)
    assert told.index(line) < told.index("-m service")
    return shlex.split(line)[1:]


def test_a_folder_becomes_a_server_that_answers_with_its_classes(run: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(
        r"fpn-train --data \S+ --out runs/my\n +make serve MODEL=runs/my/best\.onnx\n", readme
    )
    assert export(exporting(run / "best.onnx")) == 0
    with serving(FPN_MODEL=str(run / "best.onnx"), FPN_DEVICE="cpu", FPN_MAX_BATCH="1") as server:
        server.line_with("event=ready")
        url = f"http://127.0.0.1:{server.port()}"
        with httpx.Client(base_url=url, timeout=TIME_LIMIT_S) as client:
            photograph = next((run.parent / "photos").glob("*.png")).read_bytes()
            answer = client.post("/detect", files={"images": ("a.png", photograph)})
            assert answer.status_code == 200
            assert set(answer.json()["images"][0]) >= {"width", "height", "detections"}
            names = client.get("/model").json()
    assert all(name in str(names) for name in ("red", "green", "blue"))


def test_the_run_can_be_repeated_from_the_configuration_that_it_wrote(run: Path) -> None:
    options = [part for setting in SHORT for part in ("--set", setting)]
    again = run.parent / "again"
    assert train([str(run / "config.toml"), "--out", str(again), "--device", "cpu", *options]) == 0
    losses = [(out / "metrics.jsonl").read_text().splitlines()[0] for out in (run, again)]
    without_speed = [re.sub(r'"images_per_s": [^}]*', "", line) for line in losses]
    assert without_speed[0] == without_speed[1]


def test_a_configuration_that_was_written_is_not_written_over(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "config.toml").read_bytes()
    folder = str(run.parent / "photos")
    assert train(["--data", folder, "--out", str(run), "--device", "cpu"]) == 2
    assert "config.toml exists: train with it" in capsys.readouterr().err
    assert (run / "config.toml").read_bytes() == before
