"""What the server measures, for Prometheus: one object with a registry of its own.

Seconds and bytes, `_total` on counters, and labels from fixed sets only. The same words are in the
log and in `Server-Timing`. One process per device: scale by replicas, not by workers.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.artifact.manifest import Manifest
from service.artifact.tensors import Outputs
from service.detections import Detected
from service.drift import Drift

# The buckets that OpenTelemetry advises for HTTP, and finer ones below for the stages.
REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30)
STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, *REQUEST_BUCKETS_S)
BATCH_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
RATIO_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1)
SCORE_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
PROPOSAL_BUCKETS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
WINDOW_S = 10.0
REFUSALS = (
    *("full", "deadline", "slow", "connections"),
    *("bytes", "pixels", "images", "parts", "values"),
    *("no_key", "key", "quota"),
)


class Rate:
    """Events per second over the last `window_s` seconds."""

    def __init__(self, window_s: float = WINDOW_S, clock: Callable[[], float] = monotonic) -> None:
        self._window_s = window_s
        self._clock = clock
        self._times: deque[float] = deque()

    def add(self) -> None:
        """Counts an event that happens now."""
        self._times.append(self._clock())
        self._forget()

    def per_second(self) -> float:
        """The rate; 0.0 when nothing happened within the window."""
        self._forget()
        return len(self._times) / self._window_s

    def pace(self) -> float:
        """The rate since the first event of the window: also right when work has just begun."""
        self._forget()
        if not self._times:
            return 0.0
        return len(self._times) / max(1.0, self._clock() - self._times[0])

    def _forget(self) -> None:
        horizon = self._clock() - self._window_s
        while self._times and self._times[0] <= horizon:
            self._times.popleft()


class DriftGauge(Collector):
    """The distances of `drift`, computed when they are asked for."""

    def __init__(self, drift: Drift) -> None:
        self.drift = drift

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One sample for each measure."""
        family = GaugeMetricFamily(
            "fpn_drift",
            "Distance of the last images from those of validation, 0 to 1; NaN while they are too few",
            labels=["what", "label"],
        )
        for measure, distance in self.drift.distances().items():
            family.add_metric(measure, distance)
        yield family


class Metrics:
    """Every metric of the server. The names are part of the interface: see docs/http.md."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.rate = Rate()
        self._drift: DriftGauge | None = None
        self.requests = Counter(
            "fpn_requests", "Requests answered", ["route", "code"], registry=registry
        )
        self.request_seconds = Histogram(
            "fpn_request_seconds",
            "From the first byte of a request to the last of its reply",
            ["route"],
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )
        self.refused = Counter(
            "fpn_refused", "Requests refused, by what was exceeded", ["reason"], registry=registry
        )
        self._key_metrics(registry)
        self._shadow_metrics(registry)
        self._image_metrics(registry)
        self._batch_metrics(registry)
        self._result_metrics(registry)
        self.model_info = Gauge(
            "fpn_model_info",
            "1, with what is served as labels",
            ["name", "version", "precision", "provider", "wanted"],
            registry=registry,
        )
        self.swaps = Counter(
            "fpn_swaps", "Models that came while serving", ["outcome"], registry=registry
        )
        self.ready = Gauge("fpn_ready", "1 when /readyz answers 200", registry=registry)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def _key_metrics(self, registry: CollectorRegistry) -> None:
        self.key_requests = Counter(
            "fpn_key_requests", "Requests of a key", ["key", "code"], registry=registry
        )
        self.key_images = Counter(
            "fpn_key_images", "Images that a key has asked for", ["key"], registry=registry
        )
        self.key_pixels = Counter(
            "fpn_key_pixels", "Their pixels, by their headers", ["key"], registry=registry
        )

    def _shadow_metrics(self, registry: CollectorRegistry) -> None:
        self.shadow_info = Gauge(
            "fpn_shadow_info", "1, with the second model", ["name", "version"], registry=registry
        )
        self.shadow_images = Counter(
            "fpn_shadow_images",
            "Images for the second model: compared, failed or passed over",
            ["outcome"],
            registry=registry,
        )
        self.shadow_detections = Counter(
            "fpn_shadow_detections",
            "Detections in images that both models saw, by who has found them",
            ["found_by", "label"],
            registry=registry,
        )
        self.shadow_score_difference = Histogram(
            "fpn_shadow_score_difference",
            "How far apart the scores of detections are that both have found",
            buckets=SCORE_BUCKETS,
            registry=registry,
        )

    def _image_metrics(self, registry: CollectorRegistry) -> None:
        self.images = Counter(
            "fpn_images",
            "Images that came in, by what became of them",
            ["outcome"],
            registry=registry,
        )
        self.images_per_second = Gauge(
            "fpn_images_per_second",
            f"Images answered, per second of the last {WINDOW_S:g}",
            registry=registry,
        )
        self.images_per_second.set_function(self.rate.per_second)
        self.stage_seconds = Histogram(
            "fpn_stage_seconds",
            "Seconds: decode, queue of an image, inference of a batch, encode of a reply",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )

    def _batch_metrics(self, registry: CollectorRegistry) -> None:
        self.batch_images = Histogram(
            "fpn_batch_images", "Images of a batch", buckets=BATCH_BUCKETS, registry=registry
        )
        self.batch_padding_ratio = Histogram(
            "fpn_batch_padding_ratio",
            "The part of a batch's pixels that is padding",
            buckets=RATIO_BUCKETS,
            registry=registry,
        )
        self.queue_images = Gauge("fpn_queue_images", "Images that wait", registry=registry)
        self.queue_oldest_age_seconds = Gauge(
            "fpn_queue_oldest_age_seconds", "How long the oldest has waited", registry=registry
        )

    def _result_metrics(self, registry: CollectorRegistry) -> None:
        self.detections = Counter(
            "fpn_detections", "Detections answered, by class", ["label"], registry=registry
        )
        self.detection_level = Counter(
            "fpn_detection_level", "Detections answered, by level", ["level"], registry=registry
        )
        self.proposals = Histogram(
            "fpn_proposals",
            "Proposals of a level that fed the head, per image",
            ["level"],
            buckets=PROPOSAL_BUCKETS,
            registry=registry,
        )

    def start_at_zero(self, classes: Sequence[str], levels: Sequence[str]) -> None:
        """Shows what has not happened yet as 0: a counter that appears at 1 hides its first event from rate()."""
        self.images.labels("ok")
        for outcome in ("done", "failed"):
            self.swaps.labels(outcome)
        for reason in REFUSALS:
            self.refused.labels(reason)
        for label in classes:
            self.detections.labels(label)
        for level in levels:
            self.proposals.labels(level)
            self.detection_level.labels(level)

    def show_model(
        self, manifest: Manifest, provider: str, wanted: str, drift: Drift | None
    ) -> None:
        """What is served from now on, by what, on which device it was to be; `drift` is fed with what it sees."""
        self.model_info.clear()
        self.model_info.labels(
            manifest.name, manifest.version, manifest.precision, provider, wanted
        ).set(1)
        self.start_at_zero(manifest.classes, [level.name for level in manifest.levels])
        if self._drift:
            self.registry.unregister(self._drift)
        self._drift = DriftGauge(drift) if drift else None
        if self._drift:
            self.registry.register(self._drift)

    def observe_outputs(
        self, outputs: Outputs, original: tuple[int, int], manifest: Manifest
    ) -> None:
        """Counts what the model of `manifest` found in an image of (height, width) `original`, wanted or not.

        Of one that was served before nothing is counted.
        """
        if self._drift and self._drift.drift.manifest is manifest:
            self._drift.drift.observe(outputs, original)

    def observe_batch(self, size: int, padding_ratio: float, seconds: float) -> None:
        """Counts a batch that has run."""
        self.batch_images.observe(size)
        self.batch_padding_ratio.observe(padding_ratio)
        self.stage_seconds.labels("inference").observe(seconds)

    def observe_answer(self, answer: Detected) -> None:
        """Counts an image that was answered."""
        self.images.labels("ok").inc()
        self.rate.add()
        for detection in answer.detections:
            self.detections.labels(detection.label).inc()
            self.detection_level.labels(detection.level).inc()

    def observe_spending(self, key: str, images: int, pixels: int) -> None:
        """Counts what the key called so has asked for; "" is nobody's."""
        if key:
            self.key_images.labels(key).inc(images)
            self.key_pixels.labels(key).inc(pixels)

    def observe_request(self, route: str, code: int, seconds: float) -> None:
        """Counts a request; `route` is the template of its path, never the path itself."""
        self.requests.labels(route, str(code)).inc()
        self.request_seconds.labels(route).observe(seconds)
