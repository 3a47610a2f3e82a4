import json
import random
from pathlib import Path

import pytest

from benchmarks.fleet import Batches, Outcome, Replica, arrivals, main, measured_in, simulate

BATCHES = Batches.of({1: 0.1, 4: 0.2})


def outcome_of(times_s: list[float], *slowness: float) -> Outcome:
    replicas = [Replica(each) for each in slowness or (1.0,)]
    return simulate(replicas, iter(times_s), BATCHES, "round robin", random.Random(0))


def test_a_batch_between_two_that_were_measured_lies_between_them() -> None:
    assert BATCHES.of_size(2) == pytest.approx(0.1 + 0.1 / 3)
    assert (BATCHES.of_size(1), BATCHES.of_size(4), BATCHES.most) == (0.1, 0.2, 4)
    assert BATCHES.best_rate == 20


def test_what_comes_while_a_batch_runs_is_the_next_batch() -> None:
    # One at 0 runs till 0.1; the four that come meanwhile run together till 0.3.
    outcome = outcome_of([0.0, 0.02, 0.04, 0.06, 0.08])
    assert outcome.batches == 2
    assert outcome.latencies_s == pytest.approx([0.1, 0.28, 0.26, 0.24, 0.22])
    assert outcome.busy_s == pytest.approx(0.3)


def test_replicas_share_what_comes() -> None:
    assert outcome_of([0.0, 0.0], 1.0, 1.0).latencies_s == pytest.approx([0.1, 0.1])
    assert outcome_of([0.0, 0.0], 1.0, 2.0).latencies_s == pytest.approx([0.1, 0.2])


def test_past_its_places_a_replica_refuses() -> None:
    outcome = outcome_of([0.0] * 70)
    assert outcome.refused == 6
    assert len(outcome.latencies_s) == 64


def test_arrivals_follow_their_trace_and_keep_their_mean() -> None:
    times = list(arrivals(1000.0, 10.0, (0.5, 1.5), random.Random(0)))
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert sum(time < 5 for time in times) == pytest.approx(2500, rel=0.1)


def test_of_two_replicas_the_one_with_less_inside_is_asked() -> None:
    rng = random.Random(0)
    times = list(arrivals(38.0 * 20, 60.0, (1.0,), rng))
    late = {}
    for policy in ("random", "two choices"):
        replicas = [Replica() for _ in range(40)]
        outcome = simulate(replicas, iter(times), BATCHES, policy, random.Random(1))
        late[policy] = outcome.percentile_s(99)
    assert late["two choices"] < late["random"]


def test_batch_times_come_from_the_check_of_a_gpu(tmp_path: Path) -> None:
    rows = [
        {"contender": "ours, float16", "batch": 2, "seconds": [0.3, 0.1, 0.2]},
        {"contender": "torchvision, eager float16", "batch": 2, "seconds": [9.0]},
        {"contender": "ours, float16", "batch": 4, "seconds": []},
    ]
    parts = [{"finding": {"figures": {}}}, {"finding": {"figures": {"rows": rows}}}]
    (tmp_path / "check.json").write_text(json.dumps({"parts": parts}))
    assert measured_in(tmp_path / "check.json", "ours, float16") == {2: 0.2}


def test_the_table_says_that_it_was_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--replicas", "3", "--loads", "0.5", "--requests", "500"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Simulated, not served.")
    assert all(f"| 3 | 0.5 | {name} |" in printed for name in ("random", "two choices"))
