"""The panels of the board, and their queries: rows are questions, the most urgent first."""

from collections.abc import Mapping
from dataclasses import dataclass

HERE = 'instance=~"$instance"'
DETECT = f'route="/detect", {HERE}'
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """A panel.

    Attributes:
        queries: legend -> query.
        unit: as Grafana names it.
        says: what one sees in it.
        kind: lines over time, areas that add up, or the number now.
        limit: where it turns red, if there is such a value.
        width: of 24.
    """

    title: str
    queries: Mapping[str, str]
    unit: str
    says: str
    kind: str = "lines"
    limit: float | None = None
    width: int = 8


def quantile(q: float, metric: str, by: str, where: str) -> str:
    """The query for a quantile of a histogram."""
    return f"histogram_quantile({q}, sum by (le{by}) (rate({metric}_bucket{{{where}}}{RATE})))"


def mean(metric: str, by: str = "") -> str:
    """The query for the mean of a histogram, for each of the labels `by`."""
    group = f" by ({by})" if by else ""
    parts = [f"sum{group} (rate({metric}_{each}{{{HERE}}}{RATE}))" for each in ("sum", "count")]
    return " / ".join(parts)


def rate(metric: str, by: str, where: str = HERE) -> str:
    """The query for a counter's rate, for each of the labels `by`."""
    return f"sum by ({by}) (rate({metric}{{{where}}}{RATE}))"


ROWS: dict[str, list[Panel]] = {
    "Is it healthy?": [
        Panel(
            "Replicas that are ready",
            {"ready": f"sum(fpn_ready{{{HERE}}})", "running": 'count(up{job="detector"} == 1)'},
            "none",
            "Below each other when one warms up, drains or stands still.",
            "number",
            width=6,
        ),
        Panel(
            "Alerts",
            {"firing": 'count(ALERTS{alertstate="firing"}) or vector(0)'},
            "none",
            "docs/operate.md has a paragraph on each.",
            "number",
            1,
            3,
        ),
        Panel(
            "Served",
            {"{{name}} {{version}} {{precision}} on {{provider}}": f"fpn_model_info{{{HERE}}}"},
            "none",
            "One line for each replica; all should be alike.",
            "names",
            width=15,
        ),
        Panel(
            "Answers by status",
            {"{{code}}": rate("fpn_requests_total", "code", DETECT)},
            "reqps",
            "Of /detect. 503: no room; 504: too late; 500: a fault.",
            "areas",
        ),
        Panel(
            "Cores in use",
            {"{{instance}}": f"rate(process_cpu_seconds_total{{{HERE}}}{RATE})"},
            "none",
            "Of the server's own process; those that decode are beside it.",
        ),
        Panel(
            "Memory",
            {"{{instance}}": f"process_resident_memory_bytes{{{HERE}}}"},
            "bytes",
            "Level, once every shape has run.",
        ),
    ],
    "How fast is it?": [
        Panel(
            "Images a second",
            {
                "answered, last 10 s": f"sum(fpn_images_per_second{{{HERE}}})",
                "{{outcome}}": rate("fpn_images_total", "outcome"),
            },
            "none",
            "The frames per second of all replicas together.",
        ),
        Panel(
            "Latency",
            {
                "half": quantile(0.5, "fpn_request_seconds", "", DETECT),
                "95 %": quantile(0.95, "fpn_request_seconds", "", DETECT),
                "99 %": quantile(0.99, "fpn_request_seconds", "", DETECT),
            },
            "s",
            "From a request's first byte to the last of its answer.",
            limit=1.0,
        ),
        Panel(
            "Answers slower than the objective",
            {"last 5 minutes": "fpn:detect_slow:ratio_5m", "last hour": "fpn:detect_slow:ratio_1h"},
            "percentunit",
            "The share of answers that took more than 1 s; 1 % may.",
            limit=0.01,
        ),
        Panel(
            "Where the time goes",
            {"{{stage}}": mean("fpn_stage_seconds", "stage")},
            "s",
            "Mean of each stage; together an answer's time.",
            "areas",
            width=12,
        ),
        Panel(
            "Stages, 95 %",
            {"{{stage}}": quantile(0.95, "fpn_stage_seconds", ", stage", HERE)},
            "s",
            "Of a hundred photographs, the fifth slowest in each stage.",
            width=12,
        ),
    ],
    "Does batching work?": [
        Panel(
            "Images of a batch",
            {
                "mean": mean("fpn_batch_images"),
                "95 %": quantile(0.95, "fpn_batch_images", "", HERE),
            },
            "none",
            "Near 1 where one comes at a time, and on a CPU whose cores share the work better.",
        ),
        Panel(
            "Padding",
            {"mean": mean("fpn_batch_padding_ratio")},
            "percentunit",
            "Pixels that are computed for nothing: fpn-export --buckets auto chooses other frames.",
            limit=0.4,
        ),
        Panel(
            "Batches a second",
            {"batches": rate("fpn_batch_images_count", "instance")},
            "none",
            "Runs of the model.",
        ),
        Panel(
            "Images that wait",
            {"{{instance}}": f"fpn_queue_images{{{HERE}}}"},
            "none",
            "For the model, decoded and framed.",
            width=12,
        ),
        Panel(
            "The oldest has waited",
            {"{{instance}}": f"fpn_queue_oldest_age_seconds{{{HERE}}}"},
            "s",
            "What autoscaling looks at.",
            limit=2.0,
            width=12,
        ),
    ],
    "What does it see?": [
        Panel(
            "Detections by class",
            {"{{label}}": f"topk(10, {rate('fpn_detections_total', 'label')})"},
            "none",
            "A second; the ten most frequent.",
        ),
        Panel(
            "Detections by level",
            {"{{level}}": rate("fpn_detection_level_total", "level")},
            "none",
            "Small objects come from P2, large ones from P5.",
            "areas",
        ),
        Panel(
            "Proposals of an image",
            {"{{level}}": mean("fpn_proposals", "level")},
            "none",
            "That fed the head, by level.",
            "areas",
        ),
        Panel(
            "Drift",
            {"{{what}}": f'max by (what) (fpn_drift{{label="", {HERE}}})'},
            "none",
            "0: as in validation, 1: nothing in common. Empty until enough images came.",
            limit=0.15,
            width=24,
        ),
    ],
    "What does it refuse?": [
        Panel(
            "Refused, by reason",
            {"{{reason}}": rate("fpn_refused_total", "reason")},
            "reqps",
            "full, deadline and connections are load; the others are limits of a request.",
            "areas",
            width=12,
        ),
        Panel(
            "Images that were not answered",
            {
                "{{outcome}}": f'sum by (outcome) (rate(fpn_images_total{{outcome!="ok", {HERE}}}{RATE})) or vector(0)'
            },
            "none",
            "Bad images, those that were too late, and those that the model failed on.",
            "areas",
            width=12,
        ),
    ],
}
