from prometheus_client import generate_latest

from service.detections import Detected, Detection, ProposalPlace
from service.metrics import Metrics, Rate

NAMES = [
    "fpn_requests_total",
    "fpn_request_seconds",
    "fpn_stage_seconds",
    "fpn_images_total",
    "fpn_images_per_second",
    "fpn_batch_images",
    "fpn_batch_padding_ratio",
    "fpn_queue_images",
    "fpn_queue_oldest_age_seconds",
    "fpn_refused_total",
    "fpn_detections_total",
    "fpn_detection_level_total",
    "fpn_proposals",
    "fpn_model_info",
    "fpn_ready",
    "process_resident_memory_bytes",
]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_over_the_window_and_forgets_what_left_it() -> None:
    clock = Clock()
    rate = Rate(window_s=10, clock=clock)
    for _ in range(5):
        rate.add()
        clock.now += 1
    assert rate.per_second() == 0.5
    clock.now += 6.5  # 11.5 s after the first, 7.5 after the last
    assert rate.per_second() == 0.3
    clock.now += 10
    assert rate.per_second() == 0


def test_the_pace_counts_from_the_first_of_a_burst() -> None:
    clock = Clock()
    rate = Rate(window_s=10, clock=clock)
    assert rate.pace() == 0
    for _ in range(8):
        rate.add()
    assert rate.pace() == 8  # within the first second
    clock.now += 2
    assert rate.pace() == 4


def test_every_promised_name_is_there() -> None:
    text = generate_latest(Metrics().registry).decode()
    assert [name for name in NAMES if f"# TYPE {name} " not in text] == []


def test_two_servers_in_one_process_do_not_share_their_counts() -> None:
    one, other = Metrics(), Metrics()
    one.images.labels("ok").inc()
    assert other.registry.get_sample_value("fpn_images_total", {"outcome": "ok"}) is None


def test_an_answer_is_counted_by_class_and_level() -> None:
    metrics = Metrics()
    found = Detection("cat", 17, 0.9, (0, 0, 1, 1), "P4", ProposalPlace("P4", 0))
    metrics.observe_answer(Detected(3, 2, [found, found], {}))
    sample = metrics.registry.get_sample_value
    assert sample("fpn_images_total", {"outcome": "ok"}) == 1
    assert sample("fpn_detections_total", {"label": "cat"}) == 2
    assert sample("fpn_detection_level_total", {"level": "P4"}) == 2
    assert sample("fpn_images_per_second") == 0.1
