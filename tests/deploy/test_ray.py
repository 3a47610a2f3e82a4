"""Ray: what decides on replicas, what KubeRay is told, and a cluster where `make ray-test` has made its environment."""

import os
import re
import subprocess

import pytest
import yaml

from deploy.ray.scaling import wanted
from service.settings import Settings
from tests.places import ROOT

PYTHON = ROOT / ".venv-ray/bin/python"
FOLDER = ROOT / "deploy/ray"


@pytest.mark.parametrize(
    ("replicas", "ages_s", "busy", "expected"),
    [
        (2, [0.1, 0.6], 9, 3),  # one of them is behind
        (2, [9.0, 0.0], 90, 4),  # far behind: twice as many, and then it is looked again
        (3, [0.3, 0.2, 0.4], 9, 3),
        (3, [0.0, 0.0, 0.01], 1, 2),
        (3, [0.0, 0.0, 0.01], 2, 3),  # two would have one each
        (1, [0.0], 0, 1),
        (2, [], 0, 2),  # nobody has said anything yet
    ],
)
def test_replicas_come_when_photographs_wait_and_go_when_there_is_less_than_one_each(
    replicas: int, ages_s: list[float], busy: float, expected: int
) -> None:
    assert wanted(replicas, ages_s, busy) == expected


def test_kuberay_is_told_of_an_application_that_exists_with_settings_that_exist() -> None:
    service = yaml.safe_load((FOLDER / "rayservice.yaml").read_text())
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    module, _, name = application["import_path"].partition(":")
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    assert f"def {name}(" in source
    own = re.search(r"^OWN = \((.*)\)$", source, re.MULTILINE)
    assert own is not None
    settings = set(application["args"]) - set(re.findall(r"\w+", own[1]))
    assert settings <= set(Settings.model_fields)
    assert all(isinstance(value, str) for value in application["args"].values())


@pytest.mark.timeout(900)
def test_a_replica_and_nodes_end_under_load_and_nothing_is_lost() -> None:
    if not PYTHON.exists():
        pytest.skip("needs the environment that `make ray-test` makes")
    done = subprocess.run(
        [PYTHON, "-m", "deploy.ray.cluster_test"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "ray-test: nothing was lost" in done.stdout
