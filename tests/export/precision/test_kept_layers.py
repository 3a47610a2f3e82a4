"""How many layers stay in float32."""

from collections.abc import Callable, Sequence

import onnx
import pytest

from export.precision.accuracy import AccuracyError, Verdict
from export.precision.kept_layers import least_kept, unjudged

RANKED = [("a",), ("b", "c"), ("d",), ("e",)]


class Lowered:
    """Makes models that are named after the layers which they keep."""

    def __init__(self) -> None:
        self.tried: list[tuple[str, ...]] = []
        self.asked = 0

    def quantised(self, kept: Sequence[str] = ()) -> onnx.ModelProto:
        self.tried.append(tuple(kept))
        return onnx.ModelProto(producer_name="".join(kept))

    def most_sensitive(self) -> list[tuple[str, ...]]:
        self.asked += 1
        return RANKED


def judge(enough: str) -> Callable[[onnx.ModelProto], Verdict]:
    """Passes a model that keeps these layers."""

    def verdict(model: onnx.ModelProto) -> Verdict:
        passes = set(enough) <= set(model.producer_name)
        return Verdict({"AP": 30.0}, [] if passes else ["AP is low"])

    return verdict


def test_ever_more_of_the_most_sensitive_runs_stay_in_float32_until_the_gate_passes() -> None:
    lowering = Lowered()
    model, judgement = least_kept(lowering, judge("d"), (2, 3, 8, 12))
    assert lowering.tried == [(), ("a", "b", "c"), ("a", "b", "c", "d")]
    assert model.producer_name == "abcd"
    assert judgement.float_layers == ("a", "b", "c", "d")
    assert (judgement.gate, judgement.report) == ("accuracy", {"AP": 30.0})


def test_where_none_passes_it_is_said_how_many_were_kept() -> None:
    lowering = Lowered()
    with pytest.raises(AccuracyError, match="even with the 5 most sensitive layers .* AP is low"):
        least_kept(lowering, judge("x"), (2, 3, 8, 12))
    assert lowering.tried[-1] == ("a", "b", "c", "d", "e")


def test_what_is_sensitive_is_not_measured_where_no_layer_must_stay() -> None:
    lowering = Lowered()
    _, judgement = least_kept(lowering, judge(""))
    assert (lowering.asked, judgement.float_layers) == (0, ())


def test_what_nobody_judges_keeps_its_most_sensitive_runs() -> None:
    model, judgement = unjudged(Lowered())
    assert model.producer_name == "abc"
    assert judgement.gate == "off"
