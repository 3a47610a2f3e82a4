"""The levels that tests of the proposal head and of its proposals look at."""

RATIOS = (0.5, 1.0, 2.0)
A = len(RATIOS)
GRIDS = ((8, 14, (4, 4)), (4, 7, (8, 8)))  # rows, columns, strides: a frame of 32 x 56


def at(row: int, column: int, ratio: int, columns: int = GRIDS[0][1]) -> int:
    """The place of an anchor among its level's."""
    return (row * columns + column) * A + ratio
