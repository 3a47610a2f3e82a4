from pathlib import Path

import pytest
import torch
from PIL import Image

from model.importers.__main__ import main
from tests.references import photograph, torchvision_detector


def test_weights_of_another_kind_cost_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.pth"
    torch.save({"state_dict": {"module.fc.weight": torch.zeros(1)}}, weights)
    assert main(["torchvision", str(weights), str(tmp_path / "model.pt")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "model.pt").exists()


def test_class_names_in_an_unknown_encoding_cost_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_bytes("Zählung\n".encode("latin-1"))
    names = ("--classes", str(tmp_path / "names.txt"))
    assert main(["torchvision", "weights.pth", str(tmp_path / "model.pt"), *names]) == 2
    assert "names.txt: expected text in UTF-8, got the byte 0xe4" in capsys.readouterr().err


@pytest.mark.parametrize("project", ["torchvision", "detectron2"])
@pytest.mark.parametrize("option", ["--anchors=8,x", "--ratios=", "--min-size=0"])
def test_settings_that_are_no_numbers_are_refused_by_their_option(
    project: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([project, "weights.pth", "model.pt", option])
    assert option.partition("=")[0] in capsys.readouterr().err


def test_torchvisions_own_model_is_asked_about_photographs_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = "fasterrcnn_mobilenet_v3_large_320_fpn"
    torch.save(torchvision_detector(model).state_dict(), tmp_path / "weights.pth")
    (tmp_path / "photographs").mkdir()
    pixels = photograph("astronaut", (320, 400)).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "photographs" / "astronaut.png")
    files = [str(tmp_path / "weights.pth"), str(tmp_path / "model.pt")]
    options = ["--model", model, "--compare", str(tmp_path / "photographs")]
    assert main(["torchvision", *files, *options]) == 0
    said = capsys.readouterr().out
    assert "astronaut.png" in said
    assert float(said.partition("the same detections: ")[2].split()[0]) >= 0.99
    assert (tmp_path / "model.pt").exists()
    options = ["--model", "fasterrcnn_resnet50_fpn", "--compare", str(tmp_path / "photographs")]
    assert main(["torchvision", *files, *options]) == 2
    assert "got those of a MobileNetV3" in capsys.readouterr().err
