"""What a class may be called."""

import pytest

from model.config.class_names import fault_of, fault_of_ids, is_name


@pytest.mark.parametrize(
    "name", ["cat", "hot dog", "Straßenbahn", "自転車", "N/A", "b,c|d", "unused 12"]
)
def test_names_of_all_languages_are_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    ["", " ", " cat", "cat ", "\ufeffcat", "ca\tt", "cat\n", "ca\x00t", "ca\u200bt", "\u00a0"],
)
def test_what_is_empty_or_cannot_be_seen_is_none(name: str) -> None:
    assert not is_name(name)
    said = fault_of(("dog", name))
    assert said is not None
    assert ascii(name) in said


def test_names_that_are_there_twice_are_named() -> None:
    assert fault_of(("cat", "dog", "cat")) == (
        "expected class names that differ, got 'cat' 2 times"
    )
    assert fault_of(("cat", "dog")) is None
    assert fault_of(()) == "expected one class or more, got none"


def test_ids_are_one_different_whole_number_for_each_class() -> None:
    assert fault_of_ids((7, 0, 900), 3) is None
    for ids in ((1, 2), (1, 1, 2), (1, 2, 3.0), (1, 2, True), (1, 2, "3")):
        assert fault_of_ids(ids, 3) is not None
