from pathlib import Path

import pytest

from model.config.files import ConfigError
from model.training.best import Best, best_of
from tests.model.small import run_config


def test_the_best_is_the_first_of_the_highest() -> None:
    best = Best("AP")
    figures = {10: 0.2, 20: 0.5, 30: 0.5, 40: 0.4}
    assert [best.add(step, {"AP": value, "AP50": 1.0}) for step, value in figures.items()] == [
        True,
        True,
        False,
        False,
    ]
    assert best.step == 20
    assert not best.given_up  # without patience there is no end to it


def test_patience_counts_evaluations_since_the_best() -> None:
    best = Best("AP", patience=2)
    given_up = []
    for step, value in enumerate([0.1, 0.0, 0.3, 0.2, 0.3], 1):
        best.add(step, {"AP": value})
        given_up.append(best.given_up)
    assert given_up == [False, False, False, False, True]


def test_an_evaluation_without_the_figure_is_none() -> None:
    best = Best("AP/cat", patience=1)
    assert not best.add(1, {"AP": 0.5})
    assert (best.step, best.given_up) == (0, False)


@pytest.mark.parametrize("metric", ["AP75", "AP50/cat", "ARs"])
def test_every_figure_of_an_evaluation_can_be_the_one(tmp_path: Path, metric: str) -> None:
    config = run_config(tmp_path, 3, best_metric=metric, patience=4)
    assert best_of(config, ("cat",)) == Best(metric, 4)


def test_proposals_are_compared_by_their_recall(tmp_path: Path) -> None:
    assert best_of(run_config(tmp_path, 3, stage="rpn"), ("cat",)).metric == "AR1k"


def test_a_figure_that_no_evaluation_has_is_refused_with_those_that_it_has(tmp_path: Path) -> None:
    config = run_config(tmp_path, 3, best_metric="mAP")
    with pytest.raises(ConfigError, match="best_metric: expected one of AP, .*AP/cat.*'mAP'"):
        best_of(config, ("cat",))
