# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The sensor for labels: the same outcome in every mode."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from airflow_provider_deepchecks.sensors.label_coverage import DeepchecksLabelCoverageSensor
from tests.operators.conftest import make_rows
from tests.runs import DAY, new_dag, run_dag
from tests.sensors.conftest import MODES, uploaded

WINDOW = {"window_start": "{{ data_interval_start }}", "window_end": DAY + timedelta(seconds=10)}


@pytest.fixture
def sampled(server):
    """Twenty samples, the first five of them labelled."""
    uploaded(make_rows(20))
    label(server, range(5))
    return server


def label(server: Any, numbers: Any) -> None:
    rows = [{"_dc_sample_id": f"s{number:05d}", "_dc_label": 1.0} for number in numbers]
    server.call("PUT", "/model/1/labels", rows)


def wait(sensors: Any, **settings: Any) -> Any:
    with new_dag(**{"poke_interval": 0.3, "timeout": 30, **settings}) as dag:
        for name, arguments in sensors.items():
            DeepchecksLabelCoverageSensor(task_id=name, model_name="m", **arguments)
    return run_dag(dag)


def test_covered(sampled):
    sensors = {
        **{mode: {"ratio": 0.5, **WINDOW, **MODES[mode]} for mode in MODES},
        "version": {"ratio": 0.25, "model_version": "v1"},
        "all": {"ratio": 0.25},
    }
    # Labels are missing, but the window is long past: the model waits for them no more.
    late = {"overdue": {"ratio": 0.9, **WINDOW}, "own_ratio": WINDOW}
    ran = wait({**sensors, **late})
    assert set(ran.states.values()) == {"success"}, ran.errors
    for mode in MODES:
        assert ran.results[mode] == {
            "model": "m",
            "version": None,
            "samples": 10,
            "labeled": 5,
            "coverage": 0.5,
        }
    assert ran.results["version"]["samples"] == 20
    assert ran.results["overdue"]["coverage"] == 0.5


@pytest.mark.parametrize("mode", MODES)
def test_waits_for_labels(sampled, mode):
    threading.Timer(1.0, label, (sampled, range(10))).start()
    future = {"deadline": "2100-01-01T00:00:00+00:00"}
    before = time.monotonic()
    ran = wait({"sensor": {"ratio": 1.0, **WINDOW, **future, **MODES[mode]}})
    assert ran.state == "success", ran.errors
    assert time.monotonic() - before > 1
    assert ran.results["sensor"]["coverage"] == 1.0


def test_deadline_and_timeout(sampled):
    past, future = {"deadline": DAY}, {"deadline": "2100-01-01T00:00:00"}
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "strict": ({**past, "fail_at_deadline": True}, "failed"),
        "strict_soft": ({**past, "fail_at_deadline": True, "soft_fail": True}, "skipped"),
        "lenient": (past, "success"),
        "timeout": (future, "failed"),
        "timeout_soft": ({**future, "soft_fail": True}, "skipped"),
    }
    sensors = {
        f"{mode}-{case}": {"ratio": 0.9, **WINDOW, **arguments, **MODES[mode]}
        for mode in MODES
        for case, (arguments, _) in cases.items()
    }
    ran = wait(sensors, timeout=0.7, retries=1)
    for name in sensors:
        assert ran.states[name] == cases[name.partition("-")[2]][1], (name, ran.errors.get(name))
    for mode in MODES:
        assert ran.tries[f"{mode}-strict"] == 1
        assert isinstance(ran.errors[f"{mode}-strict"][0], AirflowFailException)
        assert "5 of 10 rows have a label" in str(ran.errors[f"{mode}-strict"][0])
        assert isinstance(ran.errors[f"{mode}-timeout"][0], AirflowSensorTimeout)


def test_model_says_how_long_to_wait(server):
    """A model whose alerts wait for a quarter of the labels, and for no time at all."""
    server.create_model(
        "quarter", "regression", features={}, alerts_delay_labels_ratio=0.25, alerts_delay_seconds=0
    )
    sensor = DeepchecksLabelCoverageSensor(task_id="s", model_name="quarter")
    watch = sensor.watch().to_dict()
    assert (watch["ratio"], watch["deadline"]) == (None, None)
    uploaded_rows = [
        {"_dc_sample_id": str(number), "_dc_time": "2026-01-01T00:00:00+00:00", "_dc_prediction": 1.0}
        for number in range(4)
    ]
    version = server.call("GET", "/models/quarter/model-versions/v1?identifier_kind=name")["id"]
    server.call("POST", f"/model-versions/{version}/data", uploaded_rows)
    with new_dag() as dag:
        DeepchecksLabelCoverageSensor(task_id="sensor", model_name="quarter")
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    assert ran.results["sensor"]["labeled"] == 0


def test_wrong_arguments(server):
    wrong = {
        "ratio": ({"ratio": 1.5}, "ratio is 1.5"),
        "ratio_as_text": ({"ratio": "{{ 'half' }}"}, "ratio is 'half'"),
        "no_window": ({"window_start": DAY, "window_end": DAY}, "no sample is in that window"),
        "end": ({"window_end": 20260102}, "window_end=20260102 is int"),
        "start": ({"window_start": "tomorrow"}, "window_start='tomorrow'"),
        "version": ({"model_version": "v2"}, "'v1'"),
    }
    ran = wait({name: arguments for name, (arguments, _) in wrong.items()}, retries=1)
    for name, (_, told) in wrong.items():
        assert (ran.states[name], ran.tries[name]) == ("failed", 1)
        assert told in str(ran.errors[name][0])
