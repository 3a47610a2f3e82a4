"""Docker and its compose plugin: commands, what they print, and what is missing to run them."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "fpn-serve-compose-test"
COMPOSE = [
    *("docker", "compose", "--project-name", PROJECT, "--env-file", os.devnull),
    *("-f", "docker-compose.yml", "-f", "deploy/compose.cpu.yml"),
]
UP_TIMEOUT_S = 420
# Ports that are free; every replica has one.
SETTINGS = {
    "DETECTOR_LISTEN": "127.0.0.1:",
    "PROMETHEUS_LISTEN": "127.0.0.1:0",
    "GRAFANA_LISTEN": "127.0.0.1:0",
    "PROXY_LISTEN": "127.0.0.1:0",
}


class NoDocker(Exception):
    """This machine has no Docker that can be used; the message says what is missing."""


class Failed(Exception):
    """A check does not hold; the message says what was found."""


def expect(found: object, wanted: object) -> str:
    """What was found. Raises Failed when it is not `wanted`."""
    if found != wanted:
        raise Failed(f"expected {wanted!r}, got {found!r}")
    return repr(found)


def check_docker() -> None:
    """Raises NoDocker when there is no client, no compose plugin, or no engine that answers."""
    if shutil.which("docker") is None:
        raise NoDocker("no `docker` on the PATH; install Docker Engine and its compose plugin")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0:
        raise NoDocker("`docker compose` does not work; install the compose plugin, version 2.24+")
    engine = subprocess.run(["docker", "info"], capture_output=True, text=True)
    if engine.returncode != 0:
        said = (engine.stderr.strip() or "no answer").splitlines()[-1]
        raise NoDocker(f"the Docker engine does not answer; is it running? It said: {said}")


def has_image(service: str) -> bool:
    """Whether the image of `service` is here, or can be had."""
    config = json.loads(output([*COMPOSE, "--profile", "*", "config", "--format", "json"]))
    image = config["services"][service]["image"]
    for command in (["image", "inspect", image], ["pull", "--quiet", image]):
        done = subprocess.run(["docker", *command], capture_output=True, env=environment())
        if done.returncode == 0:
            return True
    return False


def containers(service: str) -> list[str]:
    """The ids of a service's containers that run."""
    return output([*COMPOSE, "ps", "--quiet", service]).split()


def inspect(name: str, template: str, kind: str = "container") -> Any:
    """What Docker knows of a container or an image: a Go template's value, from JSON."""
    shown = ["docker", kind, "inspect", "--format", f"{{{{json {template}}}}}", name]
    return json.loads(output(shown))


def published(service: str, port: int) -> str:
    """The address on this machine, host:port, of a service's port."""
    return output([*COMPOSE, "port", service, str(port)]).strip()


def up(*services: str, **settings: str) -> None:
    """Starts the services and returns when they are healthy; nothing is built."""
    flags = ["--detach", "--wait", "--no-build", "--wait-timeout", str(UP_TIMEOUT_S)]
    run([*COMPOSE, "up", *flags, *services], **settings)


def take_down() -> None:
    """Removes the project's containers, networks and volumes, if there are any."""
    run([*COMPOSE, "--profile", "*", "down", "--volumes", "--remove-orphans"])


def run(command: list[str], **settings: str) -> None:
    """Runs a command that speaks for itself. Raises CalledProcessError when it fails."""
    print("+", *command, flush=True)
    subprocess.run(command, cwd=ROOT, env=environment() | settings, check=True)


def output(command: list[str]) -> str:
    """What a command prints. Raises Failed, with what it says, when it fails."""
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def environment() -> dict[str, str]:
    """This process's environment without settings of a server, and with ports that are free."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("FPN_")}
    others.pop("MODEL_FILE", None)
    return others | SETTINGS
