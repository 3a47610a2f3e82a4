"""Which evaluation of a run was the best, and whether it gets no better."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from model.config.files import ConfigError
from model.config.training import StageName, TrainConfig
from model.evaluation.detection_metrics import Metrics
from model.evaluation.proposal_metrics import ProposalMetrics

# What "best" means where the configuration does not say.
METRIC: dict[StageName, str] = {"joint": "AP", "fast": "AP", "rpn": "AR1k"}


@dataclass
class Best:
    """The evaluations of a run so far.

    Attributes:
        metric: the name of the figure that is compared; larger is better.
        patience: evaluations in a row without a better one that are enough; 0 never is.
        values: step -> the figure; nothing where there was nothing to measure.
    """

    metric: str
    patience: int = 0
    values: dict[int, float] = field(default_factory=dict)

    def add(self, step: int, figures: Mapping[str, float]) -> bool:
        """Whether the evaluation at `step` is better than all before."""
        value = figures.get(self.metric)
        if value is None:
            return False
        better = value > max(self.values.values(), default=float("-inf"))
        self.values[step] = value
        return better

    @property
    def step(self) -> int:
        """The step of the best evaluation, the first of equals; 0 before any."""
        return max(self.values, key=lambda step: self.values[step], default=0)

    @property
    def given_up(self) -> bool:
        """Whether `patience` evaluations in a row were no better."""
        since = sum(step > self.step for step in self.values)
        return self.patience > 0 and since >= self.patience


def best_of(config: TrainConfig, class_names: tuple[str, ...]) -> Best:
    """No evaluations yet, of a run that is scored on `class_names`.

    Raises:
        ConfigError: `best_metric` is no figure of its evaluations.
    """
    if config.stage == "rpn":
        names = [each.name for each in fields(ProposalMetrics)]
    else:
        names = [each.name for each in fields(Metrics) if each.name.startswith("A")]
        names += [f"{figure}/{name}" for figure in ("AP", "AP50") for name in class_names]
    metric = config.best_metric or METRIC[config.stage]
    if metric not in names:
        raise ConfigError(f"best_metric: expected one of {', '.join(names)}, got {metric!r}")
    return Best(metric, config.patience)
