"""What Kubernetes is told: allowed by its schemas, and of a server that exists."""

import re
import subprocess
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.http.routes import router
from service.metrics import Metrics
from service.settings import PREFIX, Settings
from tests.deploy.files import read_dockerfile, tool
from tests.places import ROOT

FOLDER = ROOT / "deploy/kubernetes"
KUSTOMIZATIONS = ("base", "overlays/gpu", "overlays/keda", "overlays/gpu-keda")
# Kinds of operators, whose schemas are not Kubernetes' own.
OTHERS = ("ServiceMonitor", "ScaledObject")
OLDEST = "1.30"  # the first whose containers sleep without a shell
NAME = {"app.kubernetes.io/name": "fpn-serve"}


@cache
def rendered(path: str) -> dict[str, dict[str, Any]]:
    """Kind -> the object that `kubectl kustomize` makes."""
    done = subprocess.run(
        [tool("kubectl"), "kustomize", str(FOLDER / path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {each["kind"]: each for each in yaml.safe_load_all(done.stdout)}


def container(path: str) -> dict[str, Any]:
    (only,) = rendered(path)["Deployment"]["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


@pytest.mark.parametrize("path", KUSTOMIZATIONS)
@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_kubernetes_schemas_allow_every_object(path: str, version: str) -> None:
    objects = [each for kind, each in rendered(path).items() if kind not in OTHERS]
    assert len(objects) >= 4
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("path", KUSTOMIZATIONS)
def test_the_probes_and_the_scraper_ask_what_the_server_answers(path: str) -> None:
    routes = {route.path for route in router.routes}  # type: ignore[attr-defined]
    (endpoint,) = rendered(path)["ServiceMonitor"]["spec"]["endpoints"]
    probes = {
        kind: container(path)[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")
    }
    asked = {kind: probe["httpGet"]["path"] for kind, probe in probes.items()}
    assert asked == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    assert {*asked.values(), endpoint["path"]} <= routes
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {"http"}


@pytest.mark.parametrize("path", KUSTOMIZATIONS)
def test_every_port_is_the_servers(path: str) -> None:
    objects = rendered(path)
    (port,) = container(path)["ports"]
    assert port == {"name": "http", "containerPort": Settings.model_fields["port"].default}
    (served,) = objects["Service"]["spec"]["ports"]
    assert (served["name"], served["targetPort"]) == ("http", "http")
    assert objects["ServiceMonitor"]["spec"]["endpoints"][0]["port"] == served["name"]
    assert objects["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"] == "http"


@pytest.mark.parametrize("path", KUSTOMIZATIONS)
def test_every_variable_is_a_setting_and_the_model_is_where_the_image_has_it(path: str) -> None:
    variables = {each["name"]: each["value"] for each in container(path)["env"]}
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(variables) <= settings
    assert variables["FPN_DEVICE"] == ("cuda" if "gpu" in path else "cpu")
    image = " ".join(read_dockerfile()[1]["detector"].arguments("ENV")).split()
    assert f"FPN_MODEL={variables['FPN_MODEL']}" in image


@pytest.mark.parametrize("path", KUSTOMIZATIONS)
def test_every_selector_finds_the_pods(path: str) -> None:
    objects = rendered(path)
    pods = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        objects["Deployment"]["spec"]["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        objects["ServiceMonitor"]["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector == NAME and selector.items() <= pods.items() for selector in selectors)
    assert objects["Service"]["metadata"]["labels"].items() >= NAME.items()


@pytest.mark.parametrize("path", KUSTOMIZATIONS)
def test_one_thing_decides_on_the_number_of_replicas(path: str) -> None:
    objects = rendered(path)
    scalers = {"HorizontalPodAutoscaler", "ScaledObject"} & set(objects)
    fixed = "replicas" in objects["Deployment"]["spec"]
    assert len(scalers) + fixed == 1
    if scalers:
        target = objects[scalers.pop()]["spec"]["scaleTargetRef"]
        assert target["name"] == objects["Deployment"]["metadata"]["name"]


def test_what_keda_looks_at_is_a_metric_of_the_job_that_the_rules_look_at() -> None:
    (trigger,) = rendered("overlays/keda")["ScaledObject"]["spec"]["triggers"]
    (name,) = re.findall(r"\bfpn_\w+", trigger["metadata"]["query"])
    assert name in {metric.name for metric in Metrics().registry.collect()}
    (endpoint,) = rendered("overlays/keda")["ServiceMonitor"]["spec"]["endpoints"]
    (label,) = endpoint["relabelings"]
    assert f'{label["targetLabel"]}="{label["replacement"]}"' in trigger["metadata"]["query"]


@pytest.mark.parametrize("path", KUSTOMIZATIONS)
def test_a_pod_can_write_nowhere_and_has_the_time_to_drain(path: str) -> None:
    spec = rendered(path)["Deployment"]["spec"]["template"]["spec"]
    (only,) = spec["containers"]
    assert spec["enableServiceLinks"] is False
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    slept = only["lifecycle"]["preStop"]["sleep"]["seconds"]
    drained = Settings.model_fields["shutdown_s"].default
    assert spec["terminationGracePeriodSeconds"] > slept + drained
    (user,) = read_dockerfile()[1]["detector"].arguments("USER")
    assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == user


def test_the_gpu_overlay_has_a_gpu_for_each_replica() -> None:
    assert container("overlays/gpu")["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in container("base")["resources"]["limits"]
