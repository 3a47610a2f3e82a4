"""The alerts: Prometheus understands them, each has a test that sees it fire and not fire, and a paragraph."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.deploy.files import tool
from tests.places import ROOT

RULES = ROOT / "deploy/prometheus/rules/detector.yml"
TESTS = ROOT / "deploy/prometheus/tests/detector.yml"
PAGE = (ROOT / "docs/operate.md").read_text()
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}


def promtool(*words: str) -> None:
    done = subprocess.run([tool("promtool"), *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_understands_its_configuration_and_the_rules() -> None:
    promtool("check", "config", "deploy/prometheus/prometheus.yml")


def test_every_alert_fires_when_it_must_and_only_then() -> None:
    promtool("test", "rules", str(TESTS))


@pytest.mark.parametrize("name", ALERTS)
def test_the_tests_see_an_alert_fire(name: str) -> None:
    cases = [
        case
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    ]
    assert any(case["exp_alerts"] for case in cases)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_names_its_paragraph_which_says_how_to_see_that_it_helped(name: str) -> None:
    rule = ALERTS[name]
    assert rule["annotations"]["runbook"] == f"docs/operate.md#{name.lower()}"
    assert rule["labels"]["severity"] in ("critical", "warning")
    paragraph = re.search(rf"^## {name}\n\n(.*?)\n\n##", PAGE, re.MULTILINE | re.DOTALL)
    assert paragraph is not None
    assert name == "AnswersSlow" or "It helped when" in paragraph[1].replace("\n", " ")
