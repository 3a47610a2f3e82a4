"""Traces, sent by a real server to a collector that writes down what comes."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from service import traces
from service.errors import InvalidSettings
from service.traces import Traces
from tests.service.exchange import parts
from tests.service.images import png
from tests.service.process import TIME_LIMIT_S, serving

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(ThreadingHTTPServer):
    """Takes what is exported."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.spans: list[Span] = []
        self.services: set[str] = set()


class Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        collector = self.server
        assert isinstance(collector, Collector)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for attribute in resource.resource.attributes:
                if attribute.key == "service.name":
                    collector.services.add(attribute.value.string_value)
            for scope in resource.scope_spans:
                collector.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def test_a_request_is_a_span_of_its_callers_trace_with_the_stages_of_each_image_below_it(
    tiny_path: Path, collector: Collector
) -> None:
    variables = {
        "FPN_TRACES": "1",
        "FPN_LOG_FORMAT": "json",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_SERVICE_NAME": "eyes",
    }
    with serving(FPN_MODEL=str(tiny_path), FPN_DEVICE="cpu", **variables) as server:
        address = json.loads(server.line_with('"event": "listening"'))["address"]
        server.line_with('"event": "ready"')
        headers = {"traceparent": CALLER, "x-request-id": "mine"}
        sent = parts(png(30, 45), png(40, 30))
        answer = httpx.post(f"{address}/detect", files=sent, headers=headers, timeout=TIME_LIMIT_S)
        assert answer.status_code == 200
        line = json.loads(server.line_with('"request_id": "mine"'))
        server.process.terminate()
        assert server.exit_code() == 0
    assert collector.services == {"eyes"}
    assert line["trace_id"] == CALLER.split("-")[1]
    spans = [span for span in collector.spans if span.trace_id.hex() == line["trace_id"]]
    (root,) = (span for span in spans if span.name == "POST /detect")
    assert root.parent_span_id.hex() == CALLER.split("-")[2]
    said = {each.key: each.value for each in root.attributes}
    assert said["http.response.status_code"].int_value == 200
    assert said["fpn.request_id"].string_value == "mine"
    below = [span for span in spans if span.parent_span_id == root.span_id]
    names = sorted(span.name for span in below)
    assert names == ["decode"] * 2 + ["encode"] + ["inference"] * 2 + ["queue"] * 2
    for span in below:
        assert root.start_time_unix_nano <= span.start_time_unix_nano + 1_000_000
        assert span.end_time_unix_nano <= root.end_time_unix_nano + 1_000_000


def test_a_collector_that_is_not_there_costs_no_answer_and_no_end(tiny_path: Path) -> None:
    variables = {"FPN_TRACES": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with serving(FPN_MODEL=str(tiny_path), FPN_DEVICE="cpu", **variables) as server:
        server.line_with("event=ready")
        url = f"http://127.0.0.1:{server.port()}/detect"
        answer = httpx.post(url, files=parts(png(30, 45)), timeout=TIME_LIMIT_S)
        assert answer.status_code == 200
        server.process.terminate()
        assert server.exit_code() == 0


def test_without_the_library_the_start_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "HAS_TRACES", False)
    with pytest.raises(InvalidSettings, match=r"pip install 'fpn-serve\[otel\]'"):
        Traces()
