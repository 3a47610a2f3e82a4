"""What benchmarks/suppression.py compares gives the same answers."""

import numpy as np
import pytest
import torch

from benchmarks.rounds import Graph, as_feed
from benchmarks.scenes import SCENES, Scene
from benchmarks.suppression import FIXED_POINT, GRAPHS, build, differing, rows
from model.network.nms import nms_keep


@pytest.mark.parametrize("scene", SCENES)
def test_the_node_and_the_fixed_point_keep_the_same_boxes(scene: Scene) -> None:
    graphs = {name: Graph(build(text, 0.5)) for name, text in GRAPHS.items()}
    differ, kept = differing(graphs, rows(scene, 2, 37))
    assert differ == 0
    assert 0 < kept < 2 * 5 * 37


def test_the_fixed_point_is_that_of_greedy_suppression_along_a_chain() -> None:
    # each overlaps only its neighbours, so that every other one is kept, and only the last pass knows
    left = np.arange(9, dtype=np.float32) * 4
    boxes = np.stack([left, 0 * left, left + 10, 0 * left + 7], axis=1)[None]
    scores = np.linspace(1, 0, 9, dtype=np.float32)[None]
    (kept,) = Graph(build(FIXED_POINT, 0.4)).run(as_feed({"boxes": boxes, "scores": scores}))
    assert kept.numpy()[0].tolist() == [True, False] * 4 + [True]
    expected = nms_keep(torch.from_numpy(boxes), torch.from_numpy(scores), 0.4)
    assert (kept.numpy() == expected.numpy()).all()
