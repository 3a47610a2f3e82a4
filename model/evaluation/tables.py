"""Tables of figures, as text for a terminal and as Markdown for a page.

A table is a mapping of row name -> column name -> cell; cells are text. Columns come in the order
in which the rows first name them, and a row without a column has an empty cell there.
"""

import math
from collections.abc import Mapping

Row = Mapping[str, str]


def percent(value: float) -> str:
    """A figure in 0..1 in percent; `-` for NaN, where there was nothing to measure."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def percents(figures: Mapping[str, float]) -> dict[str, str]:
    """A row of figures in 0..1, in percent."""
    return {name: percent(value) for name, value in figures.items()}


def text_table(corner: str, rows: Mapping[str, Row]) -> str:
    """The table in aligned columns; `corner` heads the column of the rows' names."""
    columns = _columns(rows)
    name_width = max(len(name) for name in (corner, *rows))
    widths = {
        column: max(7, *(2 + len(text) for text in (column, *_cells(rows, column))))
        for column in columns
    }
    head = {column: column for column in columns}
    lines = [
        f"{name:<{name_width}}"
        + "".join(f"{row.get(column, ''):>{width}}" for column, width in widths.items())
        for name, row in ((corner, head), *rows.items())
    ]
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(corner: str, rows: Mapping[str, Row]) -> str:
    """The table in Markdown; `corner` heads the column of the rows' names."""
    columns = _columns(rows)
    lines = [(corner, *columns), ("---", *("---:" for _ in columns))]
    lines += [(name, *(row.get(column, "") for column in columns)) for name, row in rows.items()]
    escaped = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def _columns(rows: Mapping[str, Row]) -> list[str]:
    return list(dict.fromkeys(column for row in rows.values() for column in row))


def _cells(rows: Mapping[str, Row], column: str) -> list[str]:
    return [row.get(column, "") for row in rows.values()]
