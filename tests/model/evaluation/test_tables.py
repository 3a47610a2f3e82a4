import math

from model.evaluation.tables import markdown_table, percent, percents, text_table

ROWS = {
    "c FPN": {"AR@100": "44.0", "seconds an image": "0.25"},
    "d": {"AR@100": "37.4", "boxes": "12"},
}


def test_a_text_table_is_aligned_and_has_every_rows_columns() -> None:
    head, *rows = text_table("row", ROWS).splitlines()
    assert head == "row    AR@100  seconds an image  boxes"
    assert rows == [
        "c FPN    44.0              0.25",
        "d        37.4                       12",
    ]


def test_a_markdown_table_has_every_rows_columns() -> None:
    assert markdown_table("row", ROWS).splitlines() == [
        "| row | AR@100 | seconds an image | boxes |",
        "| --- | ---: | ---: | ---: |",
        "| c FPN | 44.0 | 0.25 |  |",
        "| d | 37.4 |  | 12 |",
    ]


def test_figures_are_in_percent_and_a_dash_where_there_is_none() -> None:
    assert percent(0.5678) == "56.8"
    assert percents({"AP": 1.0, "APs": math.nan}) == {"AP": "100.0", "APs": "-"}
