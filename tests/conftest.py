"""One trace for all tests that need an exported detector: tracing takes longer than what is done with it."""

import os
from pathlib import Path

import onnx
import pytest
import torch
from hypothesis import settings

from benchmarks.gpu_check.host import device
from export.artifact import finish_artifact
from export.graph import trace
from export.manifest import Provenance
from export.measured import Measured
from model.network.detector import Detector
from tests.detectors import small_detector

# A busy machine is no reason to fail, and the same commit must not pass once and fail once.
settings.register_profile("reproducible", deadline=None, derandomize=True)
settings.load_profile("reproducible")

# Each worker of a parallel run has one core, and so has what it starts: threads that share one wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"

PROVENANCE = Provenance(
    name="small", license="Apache-2.0", data="none", measured=Measured({"AP": 0.25})
)


@pytest.fixture(autouse=True)
def _gpu(request: pytest.FixtureRequest) -> None:
    """Skips what is marked `gpu` where there is none."""
    if request.node.get_closest_marker("gpu") and device() != "cuda":
        pytest.skip("needs an NVIDIA GPU and onnxruntime-gpu")


@pytest.fixture(scope="session")
def detector() -> Detector:
    return small_detector()


@pytest.fixture(scope="session")
def graph(detector: Detector) -> onnx.ModelProto:
    return trace(detector)


@pytest.fixture(scope="session")
def artifact(
    detector: Detector, graph: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "model.onnx"
    finish_artifact(graph, detector, path, PROVENANCE)
    return path
