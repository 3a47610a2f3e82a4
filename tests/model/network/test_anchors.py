import math

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator

from model.config.detector import AnchorConfig
from model.network.anchors import AnchorGrid, anchors_at, cell_anchors
from model.network.boxes import box_area
from tests.model.small import STRIDES

PAPER = AnchorConfig()
INPUT = (800, 1000)


def anchors_of(sizes: tuple[float, ...], strides: tuple[int, ...]) -> int:
    """How many anchors those sizes, all at each stride, make on the paper's input, which is not padded to 32."""
    cells = cell_anchors(sizes, PAPER.ratios)
    grids = ((math.ceil(INPUT[0] / stride), math.ceil(INPUT[1] / stride)) for stride in strides)
    return sum(
        AnchorGrid(cells, *grid, (stride, stride)).count
        for grid, stride in zip(grids, strides, strict=True)
    )


@pytest.mark.parametrize(
    ("sizes", "strides", "count"),
    [
        (PAPER.sizes, (16,), 47_250),  # table 1 (a): C4, 47k
        (PAPER.sizes, (32,), 12_000),  # (b): C5, 12k
        (PAPER.sizes[:1], STRIDES, 199_974),  # (c): P2..P6, 200k
        (PAPER.sizes, (4,), 750_000),  # (f): P2 alone, 750k
    ],
)
def test_anchors_are_as_many_as_in_the_papers_table_1(
    sizes: tuple[float, ...], strides: tuple[int, ...], count: int
) -> None:
    assert anchors_of(sizes, strides) == count


def test_every_ratio_of_a_size_has_that_sizes_area() -> None:
    cells = cell_anchors(PAPER.sizes, PAPER.ratios)
    areas = torch.tensor([size**2 for size in PAPER.sizes for _ in PAPER.ratios])
    torch.testing.assert_close(box_area(cells), areas, rtol=1e-6, atol=0)


def test_a_ratio_is_height_over_width_and_sizes_come_first() -> None:
    cells = cell_anchors((32.0, 50.0), (0.5, 1.0, 2.0, 3.0))
    sides = cells[:, 2:] - cells[:, :2]
    torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor([0.5, 1, 2, 3] * 2))
    assert box_area(cells)[3].item() == pytest.approx(32**2)
    assert box_area(cells)[4].item() == pytest.approx(50**2)


def test_the_anchor_of_ratio_one_half_is_not_rounded() -> None:
    width, height = 32 * math.sqrt(2), 32 / math.sqrt(2)
    [cell] = cell_anchors((32.0,), (0.5,))
    expected = torch.tensor([-width / 2, -height / 2, width / 2, height / 2])
    torch.testing.assert_close(cell, expected, rtol=1e-7, atol=0)


def test_anchors_are_centred_on_the_corners_of_their_cells_row_by_row() -> None:
    cells = cell_anchors((10.0,), (0.5, 2.0))
    anchors = AnchorGrid(cells, 3, 5, (8, 8)).all().reshape(3, 5, 2, 4)
    centres = (anchors[..., :2] + anchors[..., 2:]) / 2
    for row in range(3):
        for column in range(5):
            expected = torch.tensor([8.0 * column, 8.0 * row]).expand(2, 2)
            torch.testing.assert_close(centres[row, column], expected, atol=1e-5, rtol=0)


def test_the_anchors_of_a_cell_stand_together() -> None:
    cells = cell_anchors((10.0,), (0.5, 1.0, 2.0))
    anchors = AnchorGrid(cells, 2, 3, (16, 16)).all()
    assert torch.equal(anchors[:3], cells)
    assert torch.equal(anchors[3:6], cells + torch.tensor([16.0, 0, 16, 0]))
    assert torch.equal(anchors[9:12], cells + torch.tensor([0.0, 16, 0, 16]))


def test_rounded_anchors_are_torchvisions() -> None:
    for size in PAPER.sizes:
        theirs = AnchorGenerator().generate_anchors([size], PAPER.ratios)
        assert torch.equal(cell_anchors((size,), PAPER.ratios, rounded=True), theirs)
    [wide, *_] = cell_anchors((32.0,), PAPER.ratios, rounded=True)
    assert (wide[2:] - wide[:2]).tolist() == [46, 22]


def test_strides_may_differ_down_and_across() -> None:
    cells = cell_anchors((512.0,), (1.0,))
    anchors = AnchorGrid(cells, 13, 17, (61, 64)).all().reshape(13, 17, 4)
    centres = (anchors[..., :2] + anchors[..., 2:]) / 2
    assert centres[-1, -1].tolist() == [16 * 64, 12 * 61]


def test_anchors_looked_up_by_their_places_are_those_of_the_whole_grids() -> None:
    grids = [
        AnchorGrid(cell_anchors((32.0, 50.0), PAPER.ratios), 13, 17, (61, 64)),
        AnchorGrid(cell_anchors((64.0, 90.0), PAPER.ratios), 3, 40, (32, 32)),
    ]
    assert [grid.count for grid in grids] == [len(grid.all()) for grid in grids] == [1326, 720]
    fine, coarse = torch.arange(1326), torch.arange(1326) % 720
    places = torch.stack([torch.stack([fine, coarse]), torch.stack([fine.flip(0), coarse])])
    found = anchors_at(grids, places)
    assert found.shape == (2, 2, 1326, 4)
    for image in range(2):
        for level, grid in enumerate(grids):
            assert torch.equal(found[image, level], grid.all()[places[image, level]])
