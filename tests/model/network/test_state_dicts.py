from typing import Any

import pytest

from model.network.state_dicts import NoStateDict, state_dict_in

STATE = {"body.conv1.weight": 1, "body.layer1.conv1.weight": 2, "head.bias": 3}


def prefixed(prefix: str) -> dict[str, int]:
    return {prefix + key: value for key, value in STATE.items()}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        prefixed("module."),
        prefixed("_orig_mod.module."),
        {"body._orig_mod.conv1.weight": 1} | {k: v for k, v in STATE.items() if v > 1},
        {"model": STATE, "optimizer": {"state": {}}, "epoch": 3},
        {"state_dict": prefixed("module."), "best": 0.5},
        {"epoch": 1, "state_dict": prefixed("model.") | {"loss.weight": 9}},
        {"callbacks": {}, "model": {"state_dict": prefixed("net.module.")}},
        {"weights": STATE},
    ],
)
def test_the_state_dict_is_found_whatever_is_around_it(content: dict[str, Any]) -> None:
    assert state_dict_in(content, "body.conv1.weight") == STATE


def test_keys_are_named_where_it_is_not_found() -> None:
    expected = r"nothing in it is named conv9\.weight, got 3 names such as body\.conv1\.weight, "
    with pytest.raises(NoStateDict, match=expected):
        state_dict_in({"epoch": 1, "model": STATE}, "conv9.weight")


@pytest.mark.parametrize(("content", "told"), [([1, 2], "object: list"), ({}, "got nothing")])
def test_what_is_no_state_dict_is_refused(content: Any, told: str) -> None:
    with pytest.raises(NoStateDict, match=told):
        state_dict_in(content, "conv1.weight")
