import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service.settings import PREFIX, Settings
from tests.deploy.files import RESET, default_of, read_compose, read_dockerfile, tool
from tests.places import ROOT

BASE = read_compose("docker-compose.yml")
DETECTOR: dict[str, Any] = BASE["services"]["detector"]
PROMETHEUS: dict[str, Any] = BASE["services"]["prometheus"]
GRAFANA: dict[str, Any] = BASE["services"]["grafana"]
PROXY: dict[str, Any] = BASE["services"]["proxy"]
CPU: dict[str, Any] = read_compose("deploy/compose.cpu.yml")["services"]["detector"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FILES = ("docker-compose.yml", "deploy/compose.cpu.yml", "deploy/compose.gpus.yml")
SERVICES = list(BASE["services"].values())


@pytest.mark.parametrize("service", [*SERVICES, CPU])
def test_every_image_has_a_tag_that_is_not_latest(service: dict[str, Any]) -> None:
    tag = default_of(service["image"]).rpartition(":")[2]
    assert tag not in ("", "latest", default_of(service["image"]))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_can_neither_write_to_its_root_nor_gain_privileges(
    service: dict[str, Any],
) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "user"} & set(service)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_a_memory_limit_and_comes_back_by_itself(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+g", default_of(service["deploy"]["resources"]["limits"]["memory"]))
    assert service["restart"] == "unless-stopped"


def test_the_detector_reserves_a_gpu_and_refuses_to_run_without_one() -> None:
    (device,) = DETECTOR["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert DETECTOR["environment"]["FPN_DEVICE"] == "cuda"
    assert DETECTOR["build"]["args"]["DEVICE"] == "cuda"


def test_the_cpu_override_takes_the_gpu_away_and_nothing_else() -> None:
    assert CPU["deploy"]["resources"] == {"reservations": {"devices": RESET}}
    assert CPU["environment"] == {"FPN_DEVICE": "cpu"}
    assert set(CPU["build"]) == {"args"}
    assert CPU["build"]["args"]["DEVICE"] == "cpu"
    assert set(CPU) == {"image", "build", "environment", "deploy"}


def test_every_setting_of_the_server_but_its_address_can_be_given_to_compose() -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(DETECTOR["environment"]) == settings - {"FPN_HOST", "FPN_PORT"}


def test_the_servers_defaults_are_not_written_a_second_time() -> None:
    given = {name for name, value in DETECTOR["environment"].items() if value is not None}
    assert given == {"FPN_MODEL", "FPN_DEVICE"}


def test_the_model_is_mounted_where_the_server_looks_for_it() -> None:
    (mount,) = DETECTOR["volumes"]
    assert mount["target"] == DETECTOR["environment"]["FPN_MODEL"]
    assert mount["read_only"] is True
    assert list((ROOT / default_of(mount["source"])).glob("*.onnx"))


def test_the_detector_listens_on_the_servers_port_for_everyone() -> None:
    assert default_of(DETECTOR["ports"][0]) == f"8000:{Settings.model_fields['port'].default}"


def test_prometheus_and_grafana_listen_on_this_host_alone() -> None:
    assert default_of(PROMETHEUS["ports"][0]) == "127.0.0.1:9090:9090"
    assert default_of(GRAFANA["ports"][0]) == "127.0.0.1:3000:3000"


def test_the_proxy_is_there_for_several_replicas_only() -> None:
    assert PROXY["profiles"] == ["scale"]
    assert not any("profiles" in each for each in SERVICES if each is not PROXY)
    assert default_of(DETECTOR["deploy"]["replicas"]) == "1"


def test_a_grafana_is_one_that_the_board_was_made_for() -> None:
    version = default_of(GRAFANA["image"]).rpartition(":")[2]
    assert tuple(map(int, version.split("."))) >= (13, 2)


def test_prometheus_waits_until_the_detector_is_ready() -> None:
    assert PROMETHEUS["depends_on"]["detector"] == {"condition": "service_healthy"}
    assert DETECTOR["healthcheck"]["test"][-1] == "/readyz"


def test_docker_waits_longer_than_the_server_drains() -> None:
    grace_s = float(default_of(DETECTOR["stop_grace_period"]).removesuffix("s"))
    assert grace_s > Settings.model_fields["shutdown_s"].default


def test_compose_builds_on_the_same_bases_as_the_dockerfile_alone() -> None:
    arguments, _ = read_dockerfile()
    built = {name: default_of(value) for name, value in DETECTOR["build"]["args"].items()}
    assert built == arguments
    told = re.search(r"--build-arg BASE_IMAGE=(\S+) --build-arg DEVICE=cpu", DOCKERFILE)
    assert told is not None
    assert default_of(CPU["build"]["args"]["BASE_IMAGE"]) == told[1]


def test_a_file_that_is_mounted_is_there_and_a_wrong_path_is_no_empty_folder() -> None:
    binds = [
        mount
        for service in SERVICES
        for mount in service["volumes"]
        if isinstance(mount, dict) and mount["type"] == "bind"
    ]
    assert len(binds) == 6
    assert all(mount["bind"] == {"create_host_path": False} for mount in binds)
    assert all(Path(ROOT / default_of(mount["source"])).exists() for mount in binds)


def test_every_variable_of_the_files_is_in_the_example_with_its_default() -> None:
    example = (ROOT / ".env.example").read_text()
    told = re.findall(r"^#(\w+)=(.*)$", example, re.MULTILINE)
    for path in FILES:
        for name, default in re.findall(r"\$\{(\w+):-([^}]*)\}", (ROOT / path).read_text()):
            values = [value for each, value in told if each == name]
            assert values, f"{name} of {path} is not in .env.example"
            assert name in ("REPLICAS", "PROXY_LISTEN") or default in values


def test_the_example_changes_nothing_as_it_is_and_names_only_what_is_read() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert all(not line or line.startswith("#") for line in lines)
    read = set(re.findall(r"\$\{(\w+)", "".join((ROOT / path).read_text() for path in FILES)))
    named = {name for line in lines for name in re.findall(r"^#([A-Z_]+)=", line)}
    composes_own = {"COMPOSE_FILE", "COMPOSE_PROFILES"}
    assert named - read - composes_own <= set(DETECTOR["environment"])


def test_two_gpus_have_a_server_each_under_one_name() -> None:
    services = read_compose("deploy/compose.gpus.yml")["services"]
    ids = [
        each["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"]
        for each in services.values()
    ]
    assert ids == [["0"], ["1"]]
    assert services["detector-1"]["networks"]["default"]["aliases"] == ["detector"]


@pytest.mark.parametrize("path", FILES)
def test_compose_s_schema_allows_the_file(path: str, tmp_path: Path) -> None:
    checker = tool("check-jsonschema")
    untagged = re.sub(r"!(reset|override)\b", "", (ROOT / path).read_text())
    (tmp_path / "file.yml").write_text(untagged)
    command = [checker, "--builtin-schema", "vendor.compose-spec", str(tmp_path / "file.yml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("override", ["", "deploy/compose.cpu.yml", "deploy/compose.gpus.yml"])
def test_compose_itself_takes_every_variant(override: str) -> None:
    docker = tool("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("docker compose is not installed")
    files = [word for path in ("docker-compose.yml", override) if path for word in ("-f", path)]
    command = [
        docker,
        "compose",
        "--env-file",
        "/dev/null",
        *files,
        "--profile",
        "*",
        "config",
        "-q",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
