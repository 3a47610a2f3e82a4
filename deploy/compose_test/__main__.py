"""Builds the containers, brings them up without a GPU, and checks what they promise.

    make compose-test

It needs Docker with the compose plugin and a running engine, and nothing else: only the standard
library. It works in a Compose project of its own, on ports that the system picks, so that what else
runs on this machine is left alone. Containers and volumes are gone when it ends, however it ends.

What has an image that is neither here nor to be had is left out, and said so.

Exit codes: 0 when every check holds, 1 when one does not (with the logs), 2 without a Docker.
"""

import signal
import subprocess
import sys
from collections.abc import Callable

from deploy.compose_test import scale, single
from deploy.compose_test.engine import (
    COMPOSE,
    ROOT,
    Failed,
    NoDocker,
    check_docker,
    environment,
    expect,
    has_image,
    published,
    run,
    take_down,
    up,
)

# As in the Dockerfile.
USER_ID = 10001
COMMANDS = ["fpn-detect", "fpn-serve"]
OPTIONAL = ("prometheus", "grafana", "proxy")


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
        had = {service for service in OPTIONAL if has_image(service)}
        check_one(had)
        if "proxy" in had:
            check_two()
    except (Failed, subprocess.CalledProcessError) as failure:
        print(f"FAIL  {failure}", flush=True)
        for show in (["ps", "--all"], ["logs", "--no-color", "--tail", "200"]):
            command = [*COMPOSE, "--profile", "*", *show]
            subprocess.run(command, cwd=ROOT, env=environment(), check=False)
        return 1
    finally:
        take_down()
    for service in OPTIONAL:
        if service not in had:
            print(f"left out: {service}, whose image is neither here nor to be had")
    print("compose-test: every check holds")
    return 0


def check_one(had: set[str]) -> None:
    """Checks one detector and what watches it, of which `had` can be had. Raises Failed."""
    watching = [each for each in ("prometheus", "grafana") if each in had]
    up("detector", *watching)
    detector = f"http://{published('detector', 8000)}"
    step("the detector says that it is ready", lambda: single.readiness(detector))
    step("its golden photographs were answered before that", single.golden)
    step("it serves int8 on the CPU", lambda: single.served(detector))
    step("an image is answered with detections and proposals", lambda: single.detection(detector))
    step("a bad upload is answered with problem details", lambda: single.bad_upload(detector))
    if "prometheus" in had:
        prometheus = f"http://{published('prometheus', 9090)}"
        step("Prometheus has scraped the count of that image", lambda: single.scraped(prometheus))
        step("Prometheus evaluates the alerts", lambda: single.rules(prometheus))
    if "grafana" in had:
        grafana = f"http://{published('grafana', 3000)}"
        step("Grafana has the board", lambda: single.board(grafana))
    check_inside()
    step("SIGTERM ends it with exit code 0", single.stopped)
    step("the image starts and is healthy without a shell", single.no_shell)


def check_inside() -> None:
    """Checks what a process in the detector's container sees. Raises Failed."""
    inside = single.inside()
    step("the server's user is not root", lambda: expect(inside["user"], USER_ID))
    step("it has no capabilities", lambda: expect(int(inside["capabilities"], 16), 0))
    step("its root file system is read-only", lambda: expect(inside["root"], "EROFS"))
    step("its environment has no torch", lambda: expect(inside["torch"], False))
    step("its commands are the service's", lambda: expect(inside["commands"], COMMANDS))
    step("it has written nothing", lambda: expect(inside["home"], []))
    step("its environment has no installer", lambda: expect(inside["pip"], False))
    step("its list of packages lies in it", single.bill_of_materials)


def check_two() -> None:
    """Checks two replicas behind the proxy. Raises Failed."""
    scale.replicas_up()
    proxy = f"http://{published('proxy', 8080)}"
    step("both replicas answer through the proxy", lambda: scale.both_answer(proxy))
    step("the proxy shows no replica's metrics", lambda: scale.no_metrics(proxy))
    step("a kill and a stop lose no request", lambda: scale.one_end_after_the_other(proxy))
    step("without a replica the proxy says so", lambda: scale.none_left(proxy))


def step(promise: str, check: Callable[[], str]) -> None:
    """Prints a line for `check`, which says what it found. Raises Failed with the promise."""
    try:
        print(f"ok    {promise}: {check()}", flush=True)
    except (Failed, OSError, LookupError, ValueError, TypeError) as problem:
        raise Failed(f"{promise}: {type(problem).__name__}: {problem}") from problem


if __name__ == "__main__":
    sys.exit(main())
