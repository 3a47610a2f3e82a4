"""Builds the containers, brings them up without a GPU, and checks what they promise.

    make compose-test

It needs Docker with the compose plugin and a running engine, and nothing else: only the standard
library. It works in a Compose project of its own, on ports that the system picks, so that what else
runs on this machine is left alone. Containers and volumes are gone when it ends, however it ends.

Exit codes: 0 when every check holds, 1 when one does not (with the logs), 2 without a Docker.
"""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "fpn-serve-compose-test"
COMPOSE = [
    *("docker", "compose", "--project-name", PROJECT, "--env-file", os.devnull),
    *("-f", "docker-compose.yml", "-f", "deploy/compose.cpu.yml"),
]
# As in the Dockerfile.
USER_ID = 10001
COMMANDS = ["fpn-detect", "fpn-serve"]
UP_TIMEOUT_S = 420
SCRAPE_TIMEOUT_S = 60
# stop_grace_period in docker-compose.yml.
STOP_TIMEOUT_S = 45
# Height and width of the image.
SIZE = (180, 240)

INSIDE = """
import errno, glob, importlib.util, json, os

def refused(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return errno.errorcode[error.errno]

print(json.dumps({
    "user": os.getuid(),
    "torch": importlib.util.find_spec("torch") is not None,
    "commands": sorted(map(os.path.basename, glob.glob("/opt/venv/bin/fpn-*"))),
    "home": os.listdir(os.path.expanduser("~")),
    "pip": importlib.util.find_spec("pip") is not None,
    "root": refused("/written"),
    "capabilities": [l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")][0],
}))
"""


class NoDocker(Exception):
    """This machine has no Docker that can be used; the message says what is missing."""


class Failed(Exception):
    """A check does not hold; the message says what was found."""


@dataclass(frozen=True)
class Reply:
    """An HTTP reply: its status, its media type and its body."""

    status: int
    media_type: str
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def main() -> int:
    """The exit code, after everything has been checked and taken down."""
    # So that `finally` runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        check_docker()
    except NoDocker as missing:
        print(f"compose-test: {missing}", file=sys.stderr)
        return 2
    try:
        # What a run that was killed has left.
        take_down()
        run([*COMPOSE, "build", "detector"])
        run([*COMPOSE, "up", "--detach", "--wait", "--wait-timeout", str(UP_TIMEOUT_S)])
        check_all()
    except (Failed, subprocess.CalledProcessError) as failure:
        print(f"FAIL  {failure}", flush=True)
        for show in (["ps", "--all"], ["logs", "--no-color", "--tail", "200"]):
            subprocess.run([*COMPOSE, *show], cwd=ROOT, env=environment(), check=False)
        return 1
    finally:
        take_down()
    print("compose-test: every check holds")
    return 0


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


def check_all() -> None:
    """Runs every check against the running services. Raises Failed at the first that fails."""
    detector = f"http://{published('detector', 8000)}"
    prometheus = f"http://{published('prometheus', 9090)}"
    step("the detector says that it is ready", lambda: readiness(detector))
    step("it serves on the CPU", lambda: device(detector))
    step("an image is answered with detections and proposals", lambda: detection(detector))
    step("a bad upload is answered with problem details", lambda: bad_upload(detector))
    step("Prometheus has scraped the count of that image", lambda: scraped(prometheus))
    inside = json.loads(output([*COMPOSE, "exec", "-T", "detector", "python3", "-c", INSIDE]))
    step("the server's user is not root", lambda: expect(inside["user"], USER_ID))
    step("it has no capabilities", lambda: expect(int(inside["capabilities"], 16), 0))
    step("its root file system is read-only", lambda: expect(inside["root"], "EROFS"))
    step("its environment has no torch", lambda: expect(inside["torch"], False))
    step("its commands are the service's", lambda: expect(inside["commands"], COMMANDS))
    step("it has written nothing", lambda: expect(inside["home"], []))
    step("its environment has no installer", lambda: expect(inside["pip"], False))
    step("SIGTERM ends it with exit code 0", stopped)


def step(promise: str, check: Callable[[], str]) -> None:
    """Prints a line for `check`, which says what it found. Raises Failed with the promise."""
    try:
        print(f"ok    {promise}: {check()}", flush=True)
    except (Failed, OSError, LookupError, ValueError, TypeError) as problem:
        raise Failed(f"{promise}: {type(problem).__name__}: {problem}") from problem


def expect(found: object, wanted: object) -> str:
    """What was found. Raises Failed when it is not `wanted`."""
    if found != wanted:
        raise Failed(f"expected {wanted!r}, got {found!r}")
    return repr(found)


def readiness(detector: str) -> str:
    """Asks /readyz from outside the container."""
    return expect(request(f"{detector}/readyz").status, 200)


def device(detector: str) -> str:
    """Asks /model what it runs on."""
    return expect(request(f"{detector}/model").json()["device"], "cpu")


def detection(detector: str) -> str:
    """Uploads an image as a form and looks at the shape of the answer."""
    boundary = "compose-test"
    head = 'Content-Disposition: form-data; name="images"; filename="image.png"'
    form = f"--{boundary}\r\n{head}\r\nContent-Type: image/png\r\n\r\n".encode()
    form += png(*SIZE) + f"\r\n--{boundary}--\r\n".encode()
    reply = request(f"{detector}/detect", form, f"multipart/form-data; boundary={boundary}")
    expect((reply.status, reply.media_type), (200, "application/json"))
    answer = reply.json()
    (image,) = answer["images"]
    expect((image["height"], image["width"]), SIZE)
    for found in image["detections"]:
        expect(sorted(found), ["box", "label", "level", "score"])
    proposals = {level: len(boxes) for level, boxes in image["proposals"].items()}
    if not any(proposals.values()):
        raise Failed(f"no proposals at any level: {proposals}")
    return (
        f"{len(image['detections'])} detections, proposals {proposals},"
        f" {answer['timings_s']['total']:.3f} s, model {answer['model']['name']}"
    )


def bad_upload(detector: str) -> str:
    """Uploads what is no image."""
    reply = request(f"{detector}/detect", b"this is no image", "image/png")
    expect((reply.status, reply.media_type), (400, "application/problem+json"))
    problem = reply.json()
    expect(problem["status"], 400)
    return f"{problem['type']}: {problem['title']}"


def scraped(prometheus: str) -> str:
    """Waits until Prometheus knows of an answered image, for a few of its intervals at most."""
    query = urllib.parse.urlencode({"query": 'sum(fpn_images_total{outcome="ok"})'})
    deadline = time.monotonic() + SCRAPE_TIMEOUT_S
    while True:
        found = request(f"{prometheus}/api/v1/query?{query}").json()["data"]["result"]
        if found and float(found[0]["value"][1]) >= 1:
            return f"fpn_images_total = {found[0]['value'][1]}"
        if time.monotonic() > deadline:
            targets = request(f"{prometheus}/api/v1/targets").json()["data"]["activeTargets"]
            states = {each["scrapeUrl"]: each["lastError"] or each["health"] for each in targets}
            raise Failed(f"no such count after {SCRAPE_TIMEOUT_S} s; targets: {states}")
        time.sleep(0.5)


def stopped() -> str:
    """Stops the detector and looks at how it ended: 137 would be the engine's SIGKILL."""
    container = output([*COMPOSE, "ps", "--quiet", "detector"]).strip()
    began = time.monotonic()
    output([*COMPOSE, "stop", "detector"])
    taken_s = time.monotonic() - began
    code = output(["docker", "inspect", "--format", "{{.State.ExitCode}}", container]).strip()
    expect(code, "0")
    if taken_s >= STOP_TIMEOUT_S:
        raise Failed(f"it took {taken_s:.1f} s")
    return f"after {taken_s:.1f} s"


def png(height: int, width: int) -> bytes:
    """A PNG file of height x width pixels: a bright disc on a ground under a sky, both graded."""
    rows = bytearray()
    for y in range(height):
        # The row's filter: none.
        rows.append(0)
        for x in range(width):
            if (x - width / 3) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2:
                rows += bytes((230, 200 - x % 40, 60))
            elif y < height / 2:
                rows += bytes((90, 140, 255 - y))
            else:
                rows += bytes((40 + y % 50, 110, 40))
    # bit depth 8, colour type 2 (RGB), and the only compression, filter and interlace: none
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def request(url: str, body: bytes | None = None, media_type: str = "") -> Reply:
    """The reply to a GET, or to a POST of `body`; an error status is a reply too."""
    headers = {"Content-Type": media_type} if media_type else {}
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(urllib.request.Request(url, body, headers), timeout=60) as reply:
            return Reply(reply.status, reply.headers.get_content_type(), reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.headers.get_content_type(), error.read())


def published(service: str, port: int) -> str:
    """The address on this machine, host:port, of a service's port."""
    return output([*COMPOSE, "port", service, str(port)]).strip()


def take_down() -> None:
    """Removes the project's containers, networks and volumes, if there are any."""
    run([*COMPOSE, "down", "--volumes", "--remove-orphans"])


def run(command: list[str]) -> None:
    """Runs a command that speaks for itself. Raises CalledProcessError when it fails."""
    print("+", *command, flush=True)
    subprocess.run(command, cwd=ROOT, env=environment(), check=True)


def output(command: list[str]) -> str:
    """What a command prints. Raises Failed, with what it says, when it fails."""
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def environment() -> dict[str, str]:
    """This process's environment without settings of a server, and with ports that are free."""
    ours = {"DETECTOR_LISTEN": "127.0.0.1:0", "PROMETHEUS_LISTEN": "127.0.0.1:0"}
    others = {name: value for name, value in os.environ.items() if not name.startswith("FPN_")}
    others.pop("MODEL_FILE", None)
    return others | ours


if __name__ == "__main__":
    sys.exit(main())
