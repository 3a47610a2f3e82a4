"""docs/settings.md has every setting as the code has it, and docs/http.md every metric."""

import re

from service.metrics import Metrics
from service.settings import PREFIX, Settings
from tests.places import ROOT

ROW = re.compile(r"^\| `(FPN_\w+)` \| .*? \| (.*) \|$", re.MULTILINE)


def test_every_setting_is_on_its_page_once_with_what_is_expected() -> None:
    rows = ROW.findall((ROOT / "docs/settings.md").read_text("utf-8"))
    expected = {
        PREFIX + name.upper(): field.description for name, field in Settings.model_fields.items()
    }
    assert dict(rows) == expected
    assert len(rows) == len(expected)


def test_every_metric_is_in_the_interface() -> None:
    page = (ROOT / "docs/http.md").read_text("utf-8")
    families = [each for each in Metrics().registry.collect() if each.name.startswith("fpn_")]
    names = [each.name + ("_total" if each.type == "counter" else "") for each in families]
    assert len(names) > 15
    assert [name for name in names if f"`{name}" not in page] == []
