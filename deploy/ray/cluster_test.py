"""A cluster of two nodes on this machine: a replica and a node end under load, and a node in the middle of a bulk run.

    make ray-test

Prints a table of what was sent, what had to be sent again, and what was lost. The exit status is 1 if anything was.
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import pyarrow.parquet as pq
import ray
from ray import serve
from ray.cluster_utils import Cluster

from deploy.ray import bulk
from deploy.ray.serve import application

ROOT = Path(__file__).resolve().parents[2]
MODEL = str(ROOT / "deploy/models/default")
PHOTOGRAPH = ROOT / "deploy/models/default/golden/cat.jpg"
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
CLIENTS, PAUSE_S, TRIES, READY_S = 4, 5.0, 60, 180.0
PHOTOGRAPHS, PART = 48, 4


class Load:
    """Clients that send one photograph after the other, each again until it is answered."""

    def __init__(self, url: str) -> None:
        self.counts: Counter[str] = Counter()
        self._url, self._over = url, threading.Event()
        self._clients = [threading.Thread(target=self._send) for _ in range(CLIENTS)]

    def __enter__(self) -> "Load":
        """Itself, sending."""
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for the answers that are on their way."""
        self._over.set()
        for client in self._clients:
            client.join()

    def _send(self) -> None:
        while not self._over.is_set():
            self.counts["sent"] += 1
            for attempt in range(TRIES):
                status = post(self._url)
                self.counts[f"answer {status}"] += 1
                if status == "200":
                    self.counts["again"] += attempt > 0
                    break
                time.sleep(0.5)
            else:
                self.counts["lost"] += 1


def post(url: str) -> str:
    """The status, or the kind of error, of one photograph."""
    asked = urllib.request.Request(url, PHOTOGRAPH.read_bytes(), {"Content-Type": "image/jpeg"})
    try:
        with urllib.request.urlopen(asked, timeout=60) as reply:
            return str(reply.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except (OSError, HTTPException) as error:
        return type(error).__name__


def serving(cluster: Cluster, port: int) -> bool:
    """Ends a replica, then a node, under load. Whether nothing was lost."""
    arguments = {
        "min_replicas": "2",
        "max_replicas": "2",
        "model": MODEL,
        "device": "cpu",
        "threads": "1",
    }
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(application(arguments), name="detector", route_prefix="/")
    wait("two replicas", lambda: len(replicas()) == 2)
    url, kept = f"http://127.0.0.1:{port}/detect", True
    for name, end in (
        ("nothing ends", lambda: None),
        ("a replica is killed", kill_replica),
        ("a node is killed", lambda: kill_node(cluster)),
    ):
        with Load(url) as load:
            time.sleep(PAUSE_S)
            end()
            time.sleep(2 * PAUSE_S)
        row(name, load.counts)
        kept &= load.counts["lost"] == 0 and load.counts["answer 200"] == load.counts["sent"]
        wait("a replica more", lambda: bool(replicas()))
    cluster.add_node(**NODE)
    wait("two replicas again", lambda: len(replicas()) == 2)
    serve.shutdown()
    return kept


def replicas() -> list[str]:
    """The names of the replicas' actors that live."""
    named = ray.util.list_named_actors(all_namespaces=True)
    return [each["name"] for each in named if each["name"].startswith("SERVE_REPLICA")]


def kill_replica() -> None:
    """Ends a replica's process."""
    ray.kill(ray.get_actor(replicas()[0], namespace="serve"), no_restart=True)


def kill_node(cluster: Cluster) -> None:
    """Ends a node that is not the head, with all that runs on it."""
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)


def bulk_run(cluster: Cluster, folder: Path) -> bool:
    """Ends a node in the middle of a run. Whether each photograph was written once."""
    source, target = folder / "photographs", folder / "detections"
    source.mkdir()
    for place in range(PHOTOGRAPHS):
        shutil.copy(PHOTOGRAPH, source / f"{place:03d}.jpg")
    (source / "bad.jpg").write_bytes(b"no photograph")
    words = [str(source), str(target), "--model", MODEL, "--part", str(PART), "--replicas", "2"]
    options = bulk.parser().parse_args(words)

    def end_a_node() -> None:
        while len(list(target.glob("*.parquet"))) < 2:
            time.sleep(0.1)
        kill_node(cluster)

    ending = threading.Thread(target=end_a_node, daemon=True)
    ending.start()
    done, failed = bulk.run(options)
    ending.join()
    cluster.add_node(**NODE)
    again, _ = bulk.run(options)
    next(target.glob("*.parquet")).unlink()
    mended, _ = bulk.run(options)
    paths = [row["path"] for row in pq.read_table(target, columns=["path"]).to_pylist()]
    counts = {
        "photographs": PHOTOGRAPHS + 1, "in the first run": done, "not decoded": failed,
        "in the second": again, "after a part was taken away": mended, "rows": len(paths), "paths": len(set(paths)),
    }  # fmt: skip
    row("bulk, a node is killed", Counter(counts))
    return len(paths) == len(set(paths)) == PHOTOGRAPHS + 1 and again == 0 and 0 < mended <= PART


def row(name: str, counts: Counter[str]) -> None:
    """Prints a row of the table."""
    print(
        f"| {name} | {', '.join(f'{key}: {count}' for key, count in counts.items())} |", flush=True
    )


def wait(what: str, holds: Callable[[], bool]) -> None:
    """Returns when `holds`. Raises TimeoutError after READY_S."""
    until = time.monotonic() + READY_S
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"no {what} within {READY_S:g} s")
        time.sleep(0.5)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser("python -m deploy.ray.cluster_test", description=__doc__)
    parser.add_argument("--port", type=int, default=18200)
    options = parser.parse_args()
    # The head has no replicas and no workers: it is not what ends.
    head = {"num_cpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, connect=True, head_node_args=head)
    try:
        for _ in range(2):
            cluster.add_node(**NODE)
        kept = serving(cluster, options.port)
        with tempfile.TemporaryDirectory() as folder:
            kept &= bulk_run(cluster, Path(folder))
    finally:
        ray.shutdown()
        cluster.shutdown()
    print("ray-test: nothing was lost" if kept else "ray-test: FAILED")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
