"""What a detector saw in a data set, counted."""

from itertools import pairwise

import pytest

from model.evaluation.evaluation import evaluate
from model.evaluation.feeding import Loading
from model.evaluation.reference import DETECTIONS, SCORES, SIZES, Histogram
from tests.model.colours import ColourDetector
from tests.model.conftest import CocoFolder


@pytest.mark.parametrize("edges", [SCORES, DETECTIONS, SIZES])
def test_the_edges_rise(edges: tuple[float, ...]) -> None:
    assert all(low < high for low, high in pairwise(edges))


def test_a_value_on_an_edge_belongs_to_the_bin_above_it() -> None:
    assert Histogram.of([0.0, 1.0, 1.5, 3.0], (0.0, 1.0, 2.0, 4.0)).counts == [1, 2, 1]


def test_what_lies_outside_counts_in_the_first_and_the_last_bin() -> None:
    assert Histogram.of([-5.0, 2.0, 9.0, 9.0], (0.0, 1.0, 2.0)).counts == [1, 3]
    assert Histogram.of([], (0.0, 1.0)).counts == [0]


def test_every_image_and_every_real_detection_is_counted_once(coloured: CocoFolder) -> None:
    """Six images with eight rectangles, all found, behind which the detector leaves rubbish; one is empty."""
    reference = evaluate(ColourDetector(), coloured.read(), Loading(2)).reference
    assert reference is not None
    assert reference.images == 7
    assert {name: sum(h.counts) for name, h in reference.scores.items()} == {"red": 4, "green": 4}
    assert sum(reference.detections.counts) == sum(reference.sizes.counts) == 7
    assert reference.detections.counts[:3] == [1, 4, 2]
    assert reference.levels == {"P2": 4, "P3": 0, "P4": 0, "P5": 4, "P6": 0}
    # 64 x 64 and 6 x 896; 256 x 300 and more.
    assert reference.sizes.counts[0] == 2


def test_what_is_found_with_too_low_a_score_is_not_counted(coloured: CocoFolder) -> None:
    class Doubtful(ColourDetector):
        def detect(self, images, sizes):  # type: ignore[no-untyped-def]
            found = super().detect(images, sizes)
            return found._replace(scores=found.scores * 0.35)  # 0.315 and 0.28

    reference = evaluate(Doubtful(), coloured.read(), Loading(2)).reference
    assert reference is not None
    assert reference.detections.counts[:3] == [1, 6, 0]
    assert sum(reference.levels.values()) == 6
