"""No answer depends on how wide the run was that gave it: the shipped models, on one core and on several."""

import numpy as np
import pytest

from service.artifact.tensors import OUTPUTS, Outputs
from service.engine.engine import Engine, EngineOptions
from service.pictures.decoding import prepare_pillow
from service.pictures.framing import Framing, load_frame
from tests.places import ROOT

MODELS = ROOT / "deploy/models/default"
# float32's sums are taken in another order; the integers of int8 are exact, what lies between them is not.
LARGEST = {"scores": 2e-5, "boxes": 2e-2}


@pytest.fixture(scope="module", params=["model.onnx", "model-int8.onnx"])
def answers(request: pytest.FixtureRequest) -> dict[int, Outputs]:
    """The outputs for a photograph by the number of threads."""
    prepare_pillow()
    engine = Engine(MODELS / request.param, "cpu", 4, EngineOptions(runners=0))
    assert [layout.threads for layout in engine.layouts] == [4, 2, 1]
    manifest = engine.manifest
    photograph = (ROOT / "docs/cat.jpg").read_bytes()
    frame = load_frame(photograph, Framing(manifest.resize, manifest.buckets, 10**7))
    return {
        layout.threads: engine.run([frame.pixels], [frame.content], layout=layout)
        for layout in engine.layouts
    }


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("threads", [1, 2])
def test_wide_and_narrow_runs_answer_alike(
    answers: dict[int, Outputs], threads: int, name: str
) -> None:
    wide, narrow = getattr(answers[4], name), getattr(answers[threads], name)
    assert int(answers[4].counts[0]) > 0
    kind = name.removeprefix("proposal_").removeprefix("region_")
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=LARGEST.get(kind, 0))
