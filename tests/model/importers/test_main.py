from pathlib import Path

import pytest
import torch

from model.importers.__main__ import main


def test_weights_of_another_kind_cost_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.pth"
    torch.save({"state_dict": {"module.fc.weight": torch.zeros(1)}}, weights)
    assert main(["torchvision", str(weights), str(tmp_path / "model.pt")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize("project", ["torchvision", "detectron2"])
@pytest.mark.parametrize("option", ["--anchors=8,x", "--ratios=", "--min-size=0"])
def test_settings_that_are_no_numbers_are_refused_by_their_option(
    project: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([project, "weights.pth", "model.pt", option])
    assert option.partition("=")[0] in capsys.readouterr().err
