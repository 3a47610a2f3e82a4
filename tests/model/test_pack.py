"""A checkpoint with half the bytes."""

import json
from pathlib import Path

import pytest
import torch

from model.network.checkpoint import read_checkpoint, save_checkpoint
from model.pack import main
from tests.detectors import CLASS_NAMES, small_detector


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    save_checkpoint(path, small_detector(), recipe="as it was trained")
    return path


def test_a_packed_checkpoint_has_half_the_bytes_and_the_same_detector_but_for_rounding(
    trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "packed.pt"
    assert main([str(trained), str(out)]) == 0
    assert out.stat().st_size < 0.52 * trained.stat().st_size
    before, after = (read_checkpoint(path) for path in (trained, out))
    assert (after.config, after.class_names, after.recipe) == (
        before.config,
        before.class_names,
        "as it was trained",
    )
    weights = after.detector().state_dict()
    for name, value in before.detector().state_dict().items():
        assert weights[name].dtype == value.dtype
        assert torch.allclose(weights[name], value, rtol=2**-11, atol=1e-7), name


def test_the_category_ids_of_a_data_set_are_taken_by_name(trained: Path, tmp_path: Path) -> None:
    categories = [{"id": 90 - n, "name": name} for n, name in enumerate(["sky", *CLASS_NAMES])]
    data = {"images": [], "annotations": [], "categories": categories}
    (tmp_path / "data.json").write_text(json.dumps(data))
    out = tmp_path / "packed.pt"
    assert main([str(trained), str(out), "--annotations", str(tmp_path / "data.json")]) == 0
    assert read_checkpoint(out).category_ids == (89, 88, 87)


def test_a_data_set_of_other_classes_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "data.json").write_text(json.dumps(data))
    out = tmp_path / "packed.pt"
    assert main([str(trained), str(out), "--annotations", str(tmp_path / "data.json")]) == 2
    assert "but it has no ['bird', 'dog']" in capsys.readouterr().err
    assert not out.exists()
