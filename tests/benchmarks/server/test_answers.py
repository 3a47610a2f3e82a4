import json

from benchmarks.server.answers import Object, agreement, found_in

CAT = Object("cat", (1.0, 2.0, 30.0, 20.0))
NEAR = Object("cat", (1.5, 2.0, 29.0, 20.0))
DOG = Object("dog", (1.0, 2.0, 30.0, 20.0))
FAR = Object("cat", (9.0, 2.0, 30.0, 20.0))


def test_answers_are_read_as_each_server_writes_them() -> None:
    answer = {"width": 40, "detections": [{"label": "cat", "score": 0.9, "box": [1, 2, 30, 20]}]}
    for body in (answer, [answer], {"images": [answer], "timings_s": {}}):
        assert found_in(json.dumps(body).encode()) == [CAT]


def test_agreement_is_the_share_of_objects_in_both() -> None:
    assert agreement([[CAT, DOG], []], [[DOG, NEAR], []]) == 1
    assert agreement([[CAT]], [[FAR]]) == 0
    assert agreement([[CAT], [DOG]], [[CAT], []]) == 0.5


def test_an_object_is_the_same_as_one_other_only() -> None:
    assert agreement([[CAT, NEAR]], [[CAT]]) == 0.5


def test_photographs_are_not_mixed_up() -> None:
    assert agreement([[CAT], [DOG]], [[DOG], [CAT]]) == 0


def test_nothing_found_where_nothing_is_agrees() -> None:
    assert agreement([[], []], [[], []]) == 1
