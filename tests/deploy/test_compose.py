import re
from pathlib import Path
from typing import Any

import pytest

from service.settings import PREFIX, Settings
from tests.deploy.files import RESET, default_of, read_compose, read_dockerfile
from tests.places import ROOT

BASE = read_compose("docker-compose.yml")
DETECTOR: dict[str, Any] = BASE["services"]["detector"]
PROMETHEUS: dict[str, Any] = BASE["services"]["prometheus"]
CPU: dict[str, Any] = read_compose("deploy/compose.cpu.yml")["services"]["detector"]
SERVICES = [DETECTOR, PROMETHEUS]


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
    assert DETECTOR["build"]["target"] == "gpu"


def test_the_cpu_override_takes_the_gpu_away_and_nothing_else() -> None:
    assert CPU["deploy"]["resources"] == {"reservations": {"devices": RESET}}
    assert CPU["environment"] == {"FPN_DEVICE": "cpu"}
    assert CPU["build"] == {"target": "cpu"}
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
    assert (ROOT / default_of(mount["source"])).is_file()


def test_the_detector_listens_on_the_servers_port_for_everyone() -> None:
    assert default_of(DETECTOR["ports"][0]) == f"8000:{Settings.model_fields['port'].default}"


def test_prometheus_listens_on_this_host_alone() -> None:
    assert default_of(PROMETHEUS["ports"][0]) == "127.0.0.1:9090:9090"


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


def test_a_file_that_is_mounted_is_there_and_a_wrong_path_is_no_empty_folder() -> None:
    binds = [
        mount
        for service in SERVICES
        for mount in service["volumes"]
        if isinstance(mount, dict) and mount["type"] == "bind"
    ]
    assert len(binds) == 2
    assert all(mount["bind"] == {"create_host_path": False} for mount in binds)
    assert all(Path(ROOT / default_of(mount["source"])).is_file() for mount in binds)
