"""The board, as Grafana's own types: `python -m deploy.grafana.board` writes boards/fpn-serve.json.

Every query of its panels is run against a real Prometheus in tests/deploy.
"""

from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueTextMode,
    GraphDrawStyle,
    GraphTresholdsStyleMode,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

from deploy.grafana.panels import ROWS, Panel

FILE = Path(__file__).parent / "boards" / "fpn-serve.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
HEIGHT, NUMBER_HEIGHT = 7, 4


def board() -> dashboard.Dashboard:
    """The board of ROWS."""
    made = (
        dashboard.Dashboard("fpn-serve")
        .uid("fpn-serve")
        .description("A detector: health, speed, batches, what it sees and what it refuses")
        .tags(["fpn-serve"])
        .refresh("5s")
        .time("now-15m", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .editable()
        .with_variable(
            dashboard.QueryVariable("instance")
            .label("Replica")
            .datasource(SOURCE)
            .query("label_values(fpn_ready, instance)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    )
    for title, panels in ROWS.items():
        made = made.with_row(dashboard.Row(title))
        for panel in panels:
            made = made.with_panel(built(panel))
    return made


def built(panel: Panel) -> timeseries.Panel | stat.Panel:
    """The panel, as Grafana has it."""
    is_number = panel.kind in ("number", "names")
    made = _number(panel) if is_number else _lines(panel)
    made = made.title(panel.title).description(panel.says).unit(panel.unit).datasource(SOURCE)
    made = made.span(panel.width).height(NUMBER_HEIGHT if is_number else HEIGHT)
    steps = [Threshold(value=None, color="green")]
    if panel.limit is not None:
        steps.append(Threshold(value=panel.limit, color="red"))
    made = made.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    for place, (legend, query) in enumerate(panel.queries.items()):
        target = prometheus.Dataquery().expr(query).legend_format(legend).ref_id("ABC"[place])
        made = made.with_target(target.instant() if is_number else target.range())
    return made


def _number(panel: Panel) -> stat.Panel:
    reduced = common.ReduceDataOptions().calcs(["lastNotNull"])
    made = stat.Panel().reduce_options(reduced)
    return made.text_mode(BigValueTextMode.NAME) if panel.kind == "names" else made


def _lines(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().draw_style(GraphDrawStyle.LINE).line_width(1).min(0)
    if panel.kind == "areas":
        stacked = common.StackingConfig().mode(StackingMode.NORMAL)
        made = made.fill_opacity(30).stacking(stacked)
    if panel.limit is not None:
        line = common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED)
        made = made.thresholds_style(line)
    return made


def text() -> str:
    """The file's text."""
    return JSONEncoder(sort_keys=True, indent=1).encode(board().build()) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
    print(f"{FILE.name}: {sum(map(len, ROWS.values()))} panels")
