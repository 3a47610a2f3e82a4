"""The proxy before several replicas: what it is told fits the server."""

import re

from service.settings import Settings
from tests.deploy.files import read_compose
from tests.places import ROOT

TEXT = re.sub("#.*", "", (ROOT / "deploy/proxy/nginx.conf").read_text())
SERVICES = read_compose("docker-compose.yml")["services"]
UNITS = {"k": 2**10, "m": 2**20, "s": 1}


def told(name: str) -> str:
    """The arguments of a directive that is there once."""
    (arguments,) = re.findall(rf"^\s*{name}\s+(.*);$", TEXT.replace("; ", ";\n"), re.MULTILINE)
    return str(arguments).strip()


def number(name: str) -> int:
    value = told(name)
    return int(value[:-1]) * UNITS[value[-1]]


def test_it_asks_the_detectors_where_they_listen_by_a_name_that_is_looked_up_anew() -> None:
    port = Settings.model_fields["port"].default
    assert told(r"proxy_pass") == f"http://$replicas:{port}"
    assert told(r"set \$replicas") in SERVICES
    # Docker's own DNS.
    assert told("resolver").startswith("127.0.0.11 valid=1s")


def test_a_refusal_and_a_lost_connection_send_a_post_to_another_replica() -> None:
    when = told("proxy_next_upstream").split()
    assert {"error", "timeout", "http_503", "non_idempotent"} <= set(when)
    # A body is held until it is whole: only then it can be sent again.
    assert "proxy_request_buffering" not in TEXT
    assert int(told("proxy_next_upstream_tries")) > 1


def test_the_servers_own_limits_are_met_first() -> None:
    assert number("client_max_body_size") > Settings.model_fields["max_body_bytes"].default
    longest = max(
        each.le for each in Settings.model_fields["timeout_s"].metadata if hasattr(each, "le")
    )
    assert number("proxy_read_timeout") > longest


def test_it_listens_where_compose_publishes_it_and_writes_to_tmp_alone() -> None:
    proxy = SERVICES["proxy"]
    assert proxy["ports"][0].endswith(f":{told('listen')}")
    (mount,) = proxy["volumes"]
    assert (ROOT / mount["source"]).is_file()
    paths = re.findall(r"^\s*(?:\w+_temp_path|pid) (\S+);", TEXT, re.MULTILINE)
    assert len(paths) == 6
    assert all(path.startswith("/tmp/") for path in paths)
    assert proxy["tmpfs"][0].startswith("/tmp:")


def test_it_shows_no_replicas_metrics() -> None:
    assert re.search(r"location = /metrics \{\s*return 404;", TEXT)
