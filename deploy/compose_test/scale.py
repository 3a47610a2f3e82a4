"""What two replicas behind the proxy promise: nothing that was accepted is lost when one of them ends."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from threading import Event

from deploy.compose_test.client import png, request
from deploy.compose_test.engine import Failed, containers, inspect, output, up
from deploy.compose_test.single import SIZE

CLIENTS = 6
# Before, between and after the ends of replicas.
PAUSE_S = 5.0
PROFILE = {"COMPOSE_PROFILES": "scale", "REPLICAS": "2", "FPN_THREADS": "1"}


@dataclass
class Load:
    """Clients that send one photograph after the other until they are told to stop.

    Attributes:
        replies: status, or what became of the connection -> how many.
        slowest_s: the longest that an answer took.
    """

    url: str
    replies: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    over: Event = field(default_factory=Event)

    def client(self) -> None:
        """One of them."""
        photograph = png(*SIZE)
        while not self.over.is_set():
            began = time.monotonic()
            try:
                said = str(request(f"{self.url}/detect", photograph, "image/png").status)
            except (OSError, HTTPException) as error:
                said = type(error).__name__
            self.replies[said] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)


def replicas_up() -> None:
    """Starts two replicas and the proxy before them."""
    up("detector", "proxy", **PROFILE)


def both_answer(proxy: str) -> str:
    """Sends until each replica has answered some."""
    for _ in range(20):
        request(f"{proxy}/detect", png(*SIZE), "image/png")
    counts = [_answered(each) for each in containers("detector")]
    if len(counts) != 2 or not all(counts):
        raise Failed(f"photographs that the replicas answered: {counts}")
    return f"{counts}"


def no_metrics(proxy: str) -> str:
    """Whoever asks the proxy for metrics would get those of any one replica."""
    status = request(f"{proxy}/metrics").status
    if status != 404:
        raise Failed(f"expected 404, got {status}")
    return "404"


def one_end_after_the_other(proxy: str) -> str:
    """Kills one replica under load, brings it back, and stops the other one."""
    load = Load(proxy)
    with ThreadPoolExecutor(CLIENTS) as clients:
        running = [clients.submit(load.client) for _ in range(CLIENTS)]
        try:
            time.sleep(PAUSE_S)
            first, second = containers("detector")
            output(["docker", "kill", first])
            time.sleep(PAUSE_S)
            output(["docker", "start", first])
            _until_healthy(first)
            output(["docker", "stop", second])
            time.sleep(PAUSE_S)
        finally:
            load.over.set()
    for each in running:
        each.result()
    if set(load.replies) != {"200"}:
        raise Failed(f"answers: {dict(load.replies)}")
    return f"{load.replies['200']} requests, all 200; the slowest took {load.slowest_s:.1f} s"


def none_left(proxy: str) -> str:
    """Stops the last replica: the proxy has nobody to ask, and says so."""
    for each in containers("detector"):
        output(["docker", "stop", each])
    status = request(f"{proxy}/detect", png(*SIZE), "image/png").status
    # 504 in the first second, in which the proxy still has the last one's address.
    if status not in (502, 504):
        raise Failed(f"expected 502 or 504, got {status}")
    return str(status)


def _answered(container: str) -> int:
    """How many photographs a replica has answered, by its own count."""
    counting = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    text = output(["docker", "exec", container, "python3", "-c", counting])
    (line,) = [
        each for each in text.splitlines() if each.startswith('fpn_images_total{outcome="ok"}')
    ]
    return int(float(line.split()[-1]))


def _until_healthy(container: str) -> None:
    until = time.monotonic() + 120
    while inspect(container, ".State.Health.Status") != "healthy":
        if time.monotonic() > until:
            raise Failed("the replica that was killed does not become healthy again")
        time.sleep(0.5)
