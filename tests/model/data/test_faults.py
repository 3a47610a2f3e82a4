import pytest

from model.data.faults import DataError, Fault, Inventory, refuse
from model.errors import Refused


def test_an_inventory_prints_its_counts_and_the_first_three_of_each_fault() -> None:
    faults = {Fault.MISSING: ["a.png", "b.png", "c.png", "d.png"], Fault.CLIPPED: ["annotation 1"]}
    inventory = Inventory(images=12, images_without_boxes=1, boxes=30, crowd_boxes=2, faults=faults)
    assert str(inventory).splitlines() == [
        "12 images (1 without boxes), 30 boxes, 2 crowd boxes",
        "images missing (skipped): 4: a.png, b.png, c.png, ...",
        "boxes partly outside their image (clipped): 1: annotation 1",
    ]


def test_offenders_are_refused_by_their_first_ten_names_in_an_error_that_commands_know() -> None:
    with pytest.raises(Refused, match=r"^file: no: 11: 0, 1, .*, 9, \.\.\.$") as refusal:
        refuse("file: no", [str(number) for number in range(11)])
    assert isinstance(refusal.value, DataError)


def test_without_offenders_nothing_is_refused() -> None:
    refuse("file: no", [])
