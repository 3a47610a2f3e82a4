"""OpenTelemetry traces of requests, where they are asked for and the extra `otel` is installed.

    POST /detect                     from the first byte to the last of the reply; a child of the caller's span, if any
        decode, queue, inference     of each image
        encode or draw               of the reply

Where they go is said by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME, ...), which its
library reads.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from time import perf_counter

from service.errors import InvalidSettings

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    HAS_TRACES = False
else:
    HAS_TRACES = True

NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Stage:
    """What a span is made of afterwards: its name, when it ended (by `perf_counter`), its seconds, and what it says."""

    name: str
    ended: float
    seconds: float
    attributes: Mapping[str, str | int]


class Traces:
    """Makes the spans of requests, and sends them in a thread of its own."""

    def __init__(self) -> None:
        """Raises InvalidSettings when OpenTelemetry is not installed."""
        if not HAS_TRACES:
            raise InvalidSettings(
                "FPN_TRACES: expected OpenTelemetry to be installed: pip install 'fpn-serve[otel]'"
            )
        about = Resource.create(
            {"service.name": "fpn-serve", "service.version": version("fpn-serve")}
        )
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word.
        self._provider = TracerProvider(resource=about.merge(OTELResourceDetector().detect()))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("service")

    def request(self, headers: Mapping[str, str], attributes: Mapping[str, str]) -> "RequestSpan":
        """The span of a request that begins now."""
        parent = TraceContextTextMapPropagator().extract(headers)
        span = self._tracer.start_span(
            attributes["http.request.method"],
            context=parent,
            kind=SpanKind.SERVER,
            attributes=dict(attributes),
        )
        return RequestSpan(self._tracer, span, attributes["http.request.method"])

    def stop(self) -> None:
        """Sends what is left, and ends the thread."""
        self._provider.shutdown()


class RequestSpan:
    """The span of one request."""

    def __init__(self, tracer: "Tracer", span: "Span", method: str) -> None:
        self._tracer = tracer
        self._span = span
        self._method = method
        # One moment by two clocks: the time of day, and the one that stages are measured with.
        self._began = perf_counter()
        self._began_ns: int = getattr(span, "start_time", 0)

    @property
    def trace_id(self) -> str:
        """As other tools write it."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def stages(self, stages: Iterable[Stage]) -> None:
        """Adds what was done for the request."""
        context = set_span_in_context(self._span)
        for stage in stages:
            ended_ns = self._began_ns + round((stage.ended - self._began) * NS_PER_S)
            span = self._tracer.start_span(
                stage.name,
                context=context,
                start_time=ended_ns - round(stage.seconds * NS_PER_S),
                attributes=dict(stage.attributes),
            )
            span.end(ended_ns)

    def end(self, route: str, code: int, attributes: Mapping[str, str | int]) -> None:
        """The request has its answer."""
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes({"http.route": route, "http.response.status_code": code})
        self._span.set_attributes(dict(attributes))
        if code >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
