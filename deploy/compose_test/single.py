"""What one detector, Prometheus and Grafana promise."""

import json
import subprocess
import time
import urllib.parse
from typing import Any

from deploy.compose_test.client import png, request
from deploy.compose_test.engine import (
    COMPOSE,
    Failed,
    containers,
    expect,
    inspect,
    output,
)

# As in the Dockerfile.
IMAGE = "fpn-serve:cpu"
SHELLS = ("/bin/sh", "/bin/bash")
HEALTHY_TIMEOUT_S = 120
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


def inside() -> Any:
    """What a process in the detector's container sees."""
    return json.loads(output([*COMPOSE, "exec", "-T", "detector", "python3", "-c", INSIDE]))


def readiness(detector: str) -> str:
    """Asks /readyz from outside the container."""
    return expect(request(f"{detector}/readyz").status, 200)


def served(detector: str) -> str:
    """Asks /model what it runs, and on what."""
    model = request(f"{detector}/model").json()
    return expect((model["device"], model["manifest"]["precision"]), ("cpu", "int8"))


def golden() -> str:
    """Looks for the line that says that the golden photographs were compared."""
    said = output([*COMPOSE, "logs", "--no-color", "detector"])
    lines = [line for line in said.splitlines() if "golden photographs are answered" in line]
    if not lines:
        raise Failed("no such line in the log")
    return lines[0].partition('event="')[2].rstrip('"')


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


def rules(prometheus: str) -> str:
    """Asks Prometheus for the alerts that it evaluates."""
    groups = request(f"{prometheus}/api/v1/rules?type=alert").json()["data"]["groups"]
    alerts = [rule for group in groups for rule in group["rules"]]
    broken = [rule["name"] for rule in alerts if rule["health"] == "err"]
    if not alerts or broken:
        raise Failed(f"{len(alerts)} alerts, of which these fail: {broken}")
    return f"{len(alerts)} alerts"


def board(grafana: str) -> str:
    """Asks Grafana for the board, without a password."""
    found = request(f"{grafana}/api/search?type=dash-db").json()
    return expect([each["uid"] for each in found], ["fpn-serve"])


def bill_of_materials() -> str:
    """Takes the list of packages out of the image, and says how large that is."""
    text = output([*COMPOSE, "exec", "-T", "detector", "python3", "-c", SBOM])
    names = sorted(each["name"].lower() for each in json.loads(text)["components"])
    expect([name for name in names if name.startswith("torch")], [])
    size = inspect(IMAGE, ".Size", "image")
    return f"{len(names)} packages; the image has {size / 1e6:.0f} MB"


SBOM = "print(open('/app/sbom.cdx.json').read())"


def no_shell() -> str:
    """Starts the image with its shells taken away, until its health check passes."""
    hidden = [f"--mount=type=bind,source=/dev/null,target={shell}" for shell in SHELLS]
    flags = ["--read-only", "--tmpfs", "/tmp", "--health-interval", "2s", *hidden]
    container = output(["docker", "run", "--detach", *flags, IMAGE]).strip()
    try:
        tried = subprocess.run(
            ["docker", "exec", container, "/bin/sh", "-c", "true"], capture_output=True
        )
        if tried.returncode == 0:
            raise Failed("the shell still runs")
        began = time.monotonic()
        while inspect(container, ".State.Health.Status") != "healthy":
            if time.monotonic() > began + HEALTHY_TIMEOUT_S:
                raise Failed(f"not healthy: {inspect(container, '.State')}")
            time.sleep(0.5)
        return f"healthy after {time.monotonic() - began:.0f} s"
    finally:
        output(["docker", "rm", "--force", container])


def stopped() -> str:
    """Stops the detector and looks at how it ended: 137 would be the engine's SIGKILL."""
    (container,) = containers("detector")
    began = time.monotonic()
    output([*COMPOSE, "stop", "detector"])
    taken_s = time.monotonic() - began
    expect(inspect(container, ".State.ExitCode"), 0)
    if taken_s >= STOP_TIMEOUT_S:
        raise Failed(f"it took {taken_s:.1f} s")
    return f"after {taken_s:.1f} s"
