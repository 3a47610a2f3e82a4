import pytest

from service.engine.layouts import Cores, Layout, layouts_for

WIDE, HALF, NARROW = Layout(1, 4), Layout(2, 2), Layout(4, 1)


@pytest.mark.parametrize(
    ("cores", "runners", "expected"),
    [
        (1, 0, [(1, 1)]),
        (2, 0, [(1, 2), (2, 1)]),
        (5, 0, [(1, 5), (2, 2), (4, 1), (5, 1)]),
        (6, 0, [(1, 6), (2, 3), (4, 1), (6, 1)]),
        (16, 0, [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)]),
        (16, 1, [(1, 16)]),
        (16, 3, [(1, 16), (3, 5)]),
        (1, 2, [(1, 1), (2, 1)]),
    ],
)
def test_layouts_go_from_one_wide_run_to_one_on_each_core_unless_somebody_has_decided(
    cores: int, runners: int, expected: list[tuple[int, int]]
) -> None:
    found = layouts_for(cores, runners, batch=5)
    assert [(each.runs, each.threads) for each in found] == expected
    assert {each.batch for each in found} == {5}


@pytest.mark.parametrize(
    ("company", "expected"), [(1, WIDE), (2, HALF), (3, NARROW), (4, NARROW), (99, NARROW)]
)
def test_a_run_is_as_wide_as_the_company_allows(company: int, expected: Layout) -> None:
    assert Cores([NARROW, WIDE, HALF]).claim(company) == expected


def test_nothing_runs_beside_a_wide_run() -> None:
    cores = Cores([WIDE, HALF, NARROW])
    wide = cores.claim(1)
    assert wide == WIDE
    assert cores.claim(9) is None
    cores.release(wide)
    assert cores.claim(9) == NARROW


def test_a_run_is_narrower_where_only_a_part_of_the_cores_is_free() -> None:
    cores = Cores([WIDE, HALF, NARROW])
    assert cores.claim(9) == NARROW
    assert cores.claim(2) == HALF
    assert cores.claim(2) == NARROW
    assert cores.claim(2) is None


@pytest.mark.parametrize("company", [1, 2, 5])
def test_as_many_runs_go_on_as_the_narrowest_layout_has(company: int) -> None:
    cores = Cores([WIDE, HALF, NARROW])
    assert [cores.claim(4) for _ in range(5)] == [NARROW] * 4 + [None]
    cores.release(NARROW)
    assert cores.claim(company) == NARROW


def test_the_second_in_a_row_that_finds_somebody_has_come_into_company() -> None:
    cores = Cores([WIDE])
    assert [cores.company(inside) for inside in (2, 3, 2, 5, 1, 4)] == [1, 2, 2, 2, 1, 1]
