import json
import math
from collections import Counter

import pytest

from benchmarks.overload.outcomes import Outcome, Tally, outcome_of, percentile, table, verdicts

PROBLEM = {"title": "The server is full", "type": "/problems/overloaded"}


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (200, {"images": [{}]}, "200"),
        (200, {"images": []}, "malformed"),
        (400, PROBLEM | {"status": 400}, "4xx"),
        (503, PROBLEM | {"status": 503}, "503"),
        (429, PROBLEM | {"status": 429}, "503"),
        (504, PROBLEM | {"status": 504}, "504"),
        (500, PROBLEM | {"status": 500}, "500"),
        (503, PROBLEM | {"status": 500}, "malformed"),
        (503, {"status": 503}, "malformed"),
    ],
)
def test_an_answer_is_well_formed_and_of_a_class(
    status: int, content: object, expected: Outcome
) -> None:
    assert outcome_of(status, json.dumps(content).encode()) == expected


def test_what_is_no_json_is_malformed() -> None:
    assert outcome_of(200, b"<html>") == "malformed"


def kept(tally: Tally, goodput: float = 10.0) -> list[bool]:
    return list(verdicts(tally, goodput, capacity=10.0, timeout_s=5.0).values())


def well() -> Tally:
    return Tally(Counter({("bulk", "200"): 7}), answer_s=[0.1, 4.9], livez_s=[0.01])


def test_every_promise_that_was_kept_says_so() -> None:
    assert kept(well()) == [True, True, True, True]


@pytest.mark.parametrize("ended", ["hung", "malformed", "500"])
def test_one_request_without_an_answer_breaks_the_first_promise(ended: Outcome) -> None:
    tally = well()
    tally.outcomes["damaged", ended] += 1
    assert kept(tally) == [False, True, True, True]


def test_goodput_latency_and_liveness_are_promises_of_their_own() -> None:
    assert kept(well(), goodput=9.4) == [True, False, True, True]
    tally = well()
    tally.answer_s.append(5.1)
    tally.livez_s.append(math.inf)
    assert kept(tally) == [True, True, False, False]


def test_nothing_that_was_answered_keeps_no_promise_of_latency() -> None:
    assert kept(Tally()) == [True, True, False, False]


def test_a_percentile_is_a_value_that_was_there() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0


def test_the_table_has_every_kind_and_every_end() -> None:
    lines = table(well()).splitlines()
    assert len(lines) == 8
    assert "| bulk | 7 | 0 |" in lines[3]
