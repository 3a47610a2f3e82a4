import json

import pytest

from benchmarks.training.__main__ import main
from benchmarks.training.images import made_batches

SMALL = ("schedule.batch_size=2", "model.pyramid.channels=8", "model.roi.fc_channels=16")


def test_made_objects_lie_in_their_images() -> None:
    for batch in made_batches(3, 4):
        for size, boxes, labels in zip(batch.sizes, batch.gt_boxes, batch.gt_labels, strict=True):
            assert (boxes[:, :2] > 0).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert (boxes[:, 2:] < size.flip(0)).all()
            assert len(boxes) == len(labels)


def test_both_trainers_are_timed_on_the_machine_that_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    assert main(["--rounds", "1", *settings]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert all(figures["images_per_s"][name] > 0 for name in ("ours", "torchvision"))
    assert " core" in figures["machine"]


def test_a_setting_that_cannot_be_costs_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--set", "schedule.steps=none"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
