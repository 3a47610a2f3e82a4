"""The board: every query of it, run by a real Prometheus that scraped the real server under load, finds something."""

import asyncio
import json
import math
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.server.client import closed_loop
from benchmarks.server.contenders import ours
from benchmarks.server.photographs import photographs
from benchmarks.server.serving import Serving, free_port, serving
from deploy.grafana.board import FILE, text
from deploy.grafana.panels import ROWS
from tests.deploy.files import read_compose, tool
from tests.places import ROOT

MODEL = ROOT / "deploy/models/default/model-int8.onnx"
# Few places, so that some are refused; as many images as tell of drift, and few enough to be there soon.
FEW = {"FPN_QUEUE_IMAGES": "4", "FPN_MAX_IMAGES": "4", "FPN_DEVICE": "cpu"}
CONNECTIONS = 12
TIME_LIMIT_S = 120.0
QUERIES = [
    (panel.title, query)
    for panels in ROWS.values()
    for panel in panels
    for query in panel.queries.values()
]


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def values(self, query: str) -> list[float]:
        """What `query` finds now."""
        words = urllib.parse.urlencode({"query": query})
        with self.get(f"/api/v1/query?{words}") as reply:
            found = json.load(reply)["data"]["result"]
        return [float(each["value"][1]) for each in found]

    def get(self, path: str) -> Any:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return direct.open(self._address + path, timeout=10)

    def has(self, query: str) -> bool:
        return any(not math.isnan(value) for value in self.values(query))


def configured(folder: Path, server_port: int) -> Path:
    """Our configuration, with the server's address in place of its name, and shorter times."""
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ROOT / "deploy/prometheus/rules/*.yml")]
    (job,) = [each for each in config["scrape_configs"] if each["job_name"] == "detector"]
    del job["dns_sd_configs"]
    job |= {"scrape_interval": "1s", "static_configs": [{"targets": [f"127.0.0.1:{server_port}"]}]}
    config["scrape_configs"] = [job]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return folder / "prometheus.yml"


def answered(prometheus: Prometheus) -> bool:
    """Whether all is there that takes some time."""
    return (
        prometheus.has('fpn_drift{what="sizes"}')
        and prometheus.has("fpn:detect_slow:ratio_5m")
        and prometheus.has('rate(fpn_refused_total{reason="full"}[20s]) > 0')
    )


async def load(server: Serving, prometheus: Prometheus) -> None:
    """More than the server takes, until Prometheus has seen enough of it."""
    contender = ours("ours", FEW)
    requests = [contender.request(each) for each in photographs(None)]
    until = time.monotonic() + TIME_LIMIT_S
    while not answered(prometheus):
        assert time.monotonic() < until, "Prometheus has not seen enough"
        await closed_loop(server.port, requests, CONNECTIONS, 2.0)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    program = tool("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    port = free_port()
    with serving(ours("ours", FEW), MODEL) as server:
        words = [
            f"--config.file={configured(folder, server.port)}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        process = subprocess.Popen([program, *words])
        try:
            running = Prometheus(port)
            asyncio.run(server.ready(ours("ours", FEW).request(photographs(None)[0])))
            asyncio.run(load(server, running))
            yield running
        finally:
            process.terminate()
            process.wait(30)


def plain(query: str) -> str:
    """`query` with what Grafana puts in place of its variables."""
    return query.replace("$__rate_interval", "1m").replace("$instance", ".*")


# One test, since every worker of a parallel run would start a server and a Prometheus of its own.
@pytest.mark.timeout(400)
def test_every_query_finds_something_and_every_rule_is_evaluated(prometheus: Prometheus) -> None:
    # The last batch of a load may be a moment ago, and a rate of nothing by nothing is no number.
    empty = [(title, query) for title, query in QUERIES if not prometheus.has(plain(query))]
    assert empty == []
    with prometheus.get("/api/v1/rules") as reply:
        groups = json.load(reply)["data"]["groups"]
    assert sum(len(group["rules"]) for group in groups) >= 15
    assert [rule for group in groups for rule in group["rules"] if rule["health"] == "err"] == []
    rules = re.sub("#.*", "", (ROOT / "deploy/prometheus/rules/detector.yml").read_text())
    names = set(re.findall(r"\b(?:fpn|process)_[a-z_]+\b", rules))
    assert len(names) > 8
    assert [name for name in sorted(names) if not prometheus.values(name)] == []


def test_the_file_is_what_the_code_makes() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run `python -m deploy.grafana.board`"


def test_grafana_is_told_where_the_board_and_prometheus_are() -> None:
    services = read_compose("docker-compose.yml")["services"]
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load((provisioning / "dashboards/fpn-serve.yml").read_text())[
        "providers"
    ]
    board = json.loads(FILE.read_text(encoding="utf-8"))
    assert source["url"] == "http://prometheus:9090"
    assert {panel["datasource"]["uid"] for panel in board["panels"] if "targets" in panel} == {
        source["uid"]
    }
    mounts = {mount["target"]: mount["source"] for mount in services["grafana"]["volumes"]}
    assert mounts[provider["options"]["path"]] == "./deploy/grafana/boards"
    assert mounts["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"
