"""What benchmarks/pooling.py compares gives the same features."""

import numpy as np
import pytest
import torch

from benchmarks.kernels import as_roi_align, contenders, fitting, pooled_here, windowed
from benchmarks.layouts import CONFIG, LAYOUTS, MAPS, trace_layout
from benchmarks.orders import orders
from benchmarks.pooling import PHOTOGRAPH, TOLERANCE, inputs, largest_difference, proposals
from benchmarks.rounds import Graph, as_feed
from model.network.pooling import pool_regions

FRAME = (128, 160)


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {name: Graph(trace_layout(each, FRAME, 3)) for name, each in LAYOUTS.items()}


def test_every_layout_gives_the_features_of_every_box_and_its_predictions(
    graphs: dict[str, Graph],
) -> None:
    boxes, owners = proposals(None, PHOTOGRAPH, 3, 41, FRAME)
    boxes[:4] = torch.tensor([0.0, 0.0, FRAME[1], FRAME[0]])  # the frame's edges
    arrays = inputs(boxes, owners, 3, FRAME)
    feed = as_feed(arrays)
    assert largest_difference(graphs, feed) < TOLERANCE
    expected = pool_regions(tuple(arrays[name] for name in MAPS), boxes, owners, CONFIG)
    for graph in graphs.values():
        pooled, place, *predictions = (each.numpy() for each in graph.run(feed))
        np.testing.assert_allclose(pooled[place], expected.numpy(), atol=TOLERANCE)
        assert len(predictions) == (place != np.arange(len(place))).any()
        for each in predictions:
            np.testing.assert_array_equal(each, arrays["predictions"].numpy()[place])


def test_every_order_has_every_box_once() -> None:
    boxes, _ = proposals(None, PHOTOGRAPH, 1, 60, FRAME)
    for order in orders(boxes.numpy(), 4).values():
        assert sorted(order.tolist()) == list(range(60))


def test_other_operators_than_roi_align_give_its_features() -> None:
    boxes, owners = proposals(None, PHOTOGRAPH, 1, 80, FRAME)
    boxes[0] = torch.tensor([FRAME[1] - 40.0, FRAME[0] - 40.0, FRAME[1], FRAME[0]])  # a corner
    boxes[1] = torch.tensor([0.0, 0.0, 40.0, 12.0])
    chosen = fitting(pooled_here(boxes))
    assert len(chosen) > 5
    features = torch.randn((1, 16, FRAME[0] // 4, FRAME[1] // 4))
    maps = (features, *(features[..., :2, :2] for _ in range(3)))
    expected = pool_regions(maps, chosen, owners[: len(chosen)], CONFIG).numpy()
    given = chosen.numpy(), features.numpy()
    for graph, arrays in [*contenders(*given).values(), *windowed(*given).values()]:
        [pooled] = (each.numpy() for each in graph.run(as_feed(arrays)))
        np.testing.assert_allclose(as_roi_align(pooled, 16), expected, atol=TOLERANCE)
