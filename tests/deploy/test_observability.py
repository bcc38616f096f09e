"""Alerts, dashboard and compose file name only what the worker has."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer.settings import TrainerSettings
from worker.metrics import Metrics
from worker.settings import KafkaSettings, WorkerSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


def exported() -> set[str]:
    """The names of all samples that /metrics can show."""
    return {
        family.name + suffix
        for family in Metrics().registry.collect()
        for suffix in SUFFIXES[family.type]
    }


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/maum.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return document


def expressions() -> list[tuple[str, str]]:
    asked = [(rule["alert"], rule["expr"]) for rule in alerts()]
    shown = [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]
    return asked + shown


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_only_metrics_that_exist_are_asked_for(where: str, expression: str) -> None:
    names = set(re.findall(r"\bmaum_\w+", expression))
    assert names, where
    assert names <= exported()


def test_every_alert_tells_what_happened_and_how_bad_it_is() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_every_alert_is_seen_to_fire() -> None:
    tests = (DEPLOY / "prometheus/alerts_test.yml").read_text()
    assert {rule["alert"] for rule in alerts()} <= set(re.findall(r"Maum\w+", tests))


def test_no_two_panels_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_containers_set_only_settings_that_exist() -> None:
    known = {f"KAFKA_{name}".upper() for name in KafkaSettings.model_fields}
    known |= {f"WORKER_{name}".upper() for name in WorkerSettings.model_fields}
    known |= {f"TRAINER_{name}".upper() for name in TrainerSettings.model_fields}
    image = (DEPLOY.parent / "Dockerfile").read_text()
    assert set(re.findall(r"(?:WORKER|TRAINER)_\w+", image)) <= known
    for name in ("topics", "worker", "trainer"):
        assert set(compose()["services"][name]["environment"]) <= known


def test_a_container_has_longer_to_stop_than_the_worker_to_drain() -> None:
    grace = compose()["services"]["worker"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > WorkerSettings.model_fields["drain_seconds"].default
