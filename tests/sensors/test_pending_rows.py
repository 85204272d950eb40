# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The sensor for uploaded rows: the same outcome in every mode."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
    task,
)

from airflow_provider_deepchecks.exceptions import (
    DeepchecksAuthError,
    DeepchecksConfigError,
    DeepchecksMissingConnectionError,
    DeepchecksServerError,
)
from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.sensors import pending_rows
from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor
from tests.operators.conftest import TARGET, make_rows
from tests.operators.test_bad_rows import account
from tests.runs import new_dag, run_dag
from tests.sensors.conftest import MODES, refused, uploaded

BY_MODE = pytest.mark.parametrize("mode", MODES)


def wait(sensors: Any, **settings: Any) -> Any:
    """Run sensors, each with its arguments."""
    with new_dag(**{"poke_interval": 0.3, "timeout": 30, **settings}) as dag:
        for name, arguments in sensors.items():
            DeepchecksPendingRowsSensor(task_id=name, **arguments)
    return run_dag(dag)


# -- with a receipt ----------------------------------------------------------------------------------------


@BY_MODE
def test_waits_until_the_rows_are_in(queue_server, mode):
    """The consumer is held when the sensor starts: nothing is pending, and nothing is in."""
    queue_server.pause_consumer()
    seen = []
    with new_dag(poke_interval=0.3, timeout=60) as dag:
        upload = DeepchecksLogBatchOperator(task_id="upload", data=make_rows(20), **TARGET)

        @task
        def later() -> None:
            statuses = queue_server.call("GET", "/connected-models/1/versions")
            seen.append((statuses[0]["n_of_pending_rows"], len(queue_server.stored("m", "v1"))))
            threading.Timer(1.5, queue_server.resume_consumer).start()

        sensor = DeepchecksPendingRowsSensor(task_id="sensor", receipt=upload.output, **MODES[mode])

        @task
        def after() -> None:
            seen.append(len(queue_server.stored("m", "v1")))

        upload >> later() >> sensor >> after()
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    assert seen == [(0, 0), 20]
    assert account(ran.results["sensor"]) == (20, 20, 0, 0, 0, 0)
    assert ran.tries["sensor"] == 1


def test_timeout(queue_server):
    queue_server.pause_consumer()
    receipt = uploaded()
    sensors = {
        f"{mode}_{soft_fail}": {"receipt": receipt, "soft_fail": soft_fail, **arguments}
        for mode, arguments in MODES.items()
        for soft_fail in (False, True)
    }
    ran = wait(sensors, timeout=1, retries=1)
    for name in sensors:
        assert ran.states[name] == ("skipped" if name.endswith("True") else "failed"), name
        assert ran.tries[name] == 1, name
    for mode in MODES:
        (error,) = ran.errors[f"{mode}_False"]
        assert isinstance(error, AirflowSensorTimeout), mode
    assert "20 of 20 rows" in str(ran.errors["deferrable_False"][0])


def test_refused_rows(queue_server):
    receipt = refused(queue_server)
    limits: dict[str, dict[str, Any]] = {
        "none": {},
        "soft": {"soft_fail": True},
        "count": {"max_refused": 4},
        "count_of_a_template": {"max_refused": "{{ 2 + 2 }}"},
        "few": {"max_refused": 3},
        "share": {"max_refused": 0.2},
        "small_share": {"max_refused": 0.19},
    }
    sensors = {
        f"{mode}-{limit}": {"receipt": receipt, **arguments, **limits[limit]}
        for mode, arguments in MODES.items()
        for limit in limits
    }
    ran = wait(sensors, retries=1)
    expected = {"soft": "skipped", "count": "success", "count_of_a_template": "success", "share": "success"}
    for name in sensors:
        limit = name.partition("-")[2]
        assert ran.states[name] == expected.get(limit, "failed"), (name, ran.errors.get(name))
        assert ran.tries[name] == 1, name
        if ran.states[name] == "success":
            assert account(ran.results[name]) == (20, 16, 0, 4, 0, 0)
    (error,) = ran.errors["deferrable-none"]
    assert isinstance(error, AirflowFailException)
    for text in ("refused 4 rows", "allowed: 0", "s0000", "future timestamp"):
        assert text in str(error)


@BY_MODE
def test_never_fail(queue_server, mode):
    """Airflow's own wish to skip whatever went wrong counts after the triggerer as well."""
    queue_server.pause_consumer()
    receipt = uploaded()
    queue_server.lose_next_poll()
    queue_server.resume_consumer()
    sensors = {"sensor": {"receipt": receipt, "lost_after": 1.5, "never_fail": True, **MODES[mode]}}
    assert wait(sensors).states == {"sensor": "skipped"}


@BY_MODE
def test_lost_rows(queue_server, mode):
    """Lost rows are never skipped over."""
    queue_server.pause_consumer()
    receipt = uploaded()
    queue_server.lose_next_poll()
    queue_server.resume_consumer()
    ran = wait(
        {
            "hard": {"receipt": receipt, "lost_after": 1, **MODES[mode]},
            "soft": {"receipt": receipt, "lost_after": 1, "soft_fail": True, **MODES[mode]},
        }
    )
    assert ran.states == {"hard": "failed", "soft": "failed"}
    assert isinstance(ran.errors["hard"][0], AirflowFailException)
    assert "20 of 20 rows are neither stored nor listed" in str(ran.errors["hard"][0])


def test_ids(queue_server, tmp_path):
    receipt = uploaded(ids_path=str(tmp_path / "ids.parquet"))
    without = {**receipt, "ids_path": None}
    gone = {**receipt, "ids_path": str(tmp_path / "gone.parquet")}
    sensors = {mode: {"receipt": receipt, "verify": "ids", **MODES[mode]} for mode in MODES}
    ran = wait({**sensors, "gone": {"receipt": gone, "verify": "ids"}}, poke_interval=0.1)
    assert {ran.states[mode] for mode in MODES} == {"success"}
    assert "gone.parquet" in str(ran.errors["gone"][0])
    ran = wait({"without": {"receipt": without, "verify": "ids", "lost_after": 1}})
    assert ran.states == {"without": "failed"}
    assert "ids_path" in str(ran.errors["without"][0])


# -- without a receipt -------------------------------------------------------------------------------------


@BY_MODE
@pytest.mark.parametrize("version", ["v1", None])
def test_quiet_model(queue_server, mode, version, monkeypatch):
    """Nothing is pending right after the upload: that must not pass."""
    monkeypatch.setattr(pending_rows, "SHORTEST_QUIET", 3.0)
    queue_server.pause_consumer()
    uploaded()
    threading.Timer(1.0, queue_server.resume_consumer).start()
    before = time.monotonic()
    ran = wait({"sensor": {"model_name": "m", "model_version": version, **MODES[mode]}})
    assert ran.state == "success", ran.errors
    assert time.monotonic() - before > 3
    assert ran.results["sensor"] == {"model": "m", "version": version, "pending_rows": 0}
    assert len(queue_server.stored("m", "v1")) == 20


def test_several_polls_make_it_quiet(server):
    sensor = DeepchecksPendingRowsSensor(task_id="s", model_name="m", quiet_polls=4, poke_interval=60)
    assert sensor.watch().to_dict()["quiet_for"] == 240
    sensor = DeepchecksPendingRowsSensor(task_id="s", model_name="m", poke_interval=1)
    assert sensor.watch().to_dict()["quiet_for"] == 15


# -- trouble -----------------------------------------------------------------------------------------------


def test_wrong_arguments(server):
    receipt = uploaded()
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "nothing": ({}, "exactly one of receipt= and model_name="),
        "both": ({"receipt": receipt, "model_name": "m"}, "exactly one of receipt= and model_name="),
        "version": ({"receipt": receipt, "model_version": "v1"}, "model_version= goes with model_name="),
        "no_receipt": ({"receipt": {"read": 3}}, "no receipt of an upload"),
        "dry_run": ({"receipt": {"read": 3, "valid": 3, "invalid": 0}}, "report of a dry run"),
        "mapped": ({"receipt": [receipt, receipt]}, "expand(receipt=upload.output)"),
        "format": ({"receipt": {**receipt, "format": 99}}, "format 99"),
        "no_ids": ({"receipt": receipt, "verify": "ids"}, "give the upload ids_path="),
        "polls": ({"model_name": "m", "quiet_polls": 0}, "quiet_polls=0"),
        "polls_as_text": ({"model_name": "m", "quiet_polls": "3"}, "quiet_polls='3'"),
        "seconds": ({"model_name": "m", "stall_after": "900"}, "stall_after='900'"),
        "limit": ({"receipt": receipt, "max_refused": -1}, "max_refused is -1"),
        "limit_as_text": ({"receipt": receipt, "max_refused": "{{ 'few' }}"}, "max_refused is 'few'"),
        "no_number": ({"receipt": receipt, "max_refused": True}, "max_refused is True"),
        "lost": ({"receipt": receipt, "lost_after": "300"}, "lost_after='300'"),
        "verify": ({"receipt": receipt, "verify": "all"}, "verify is 'all'"),
        "model": ({"model_name": "mm"}, "'m'"),
        "number": ({"model_name": "m", "model_version": 7}, "model_version= is int"),
        "unknown_version": ({"model_name": "m", "model_version": "v2"}, "'v1'"),
    }
    sensors = {
        f"{name}_{mode}": {**arguments, **MODES[mode]}
        for name, (arguments, _) in wrong.items()
        for mode in ("poke", "deferrable")
    }
    ran = wait(sensors, retries=1)
    for name in sensors:
        told = wrong[name.rpartition("_")[0]][1]
        assert (ran.states[name], ran.tries[name]) == ("failed", 1), name
        assert isinstance(ran.errors[name][0], AirflowFailException), name
        assert told in str(ran.errors[name][0]), f"{name}: {ran.errors[name]}"


def test_unknown_connection_is_left_to_retries(server):
    """Airflow says the same when what keeps its connections is away."""
    sensors = {
        f"{mode}_{soft_fail}": {
            "model_name": "m",
            "deepchecks_conn_id": "nowhere",
            "soft_fail": soft_fail,
            **MODES[mode],
        }
        for mode in MODES
        for soft_fail in (False, True)
    }
    ran = wait(sensors, retries=1)
    assert set(ran.states.values()) == {"failed"}
    assert set(ran.tries.values()) == {2}
    for name in sensors:
        assert isinstance(ran.errors[name][0], DeepchecksMissingConnectionError), name
        assert "deepchecks_conn_id='nowhere'" in str(ran.errors[name][0])


def test_wrong_token_is_never_skipped(server, monkeypatch):
    receipt = uploaded()
    connection = {**json.loads(server.connection_json), "password": "ZGVtb0BleGFtcGxlLmNvbQ==.mistaken"}
    monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", json.dumps(connection))
    sensors = {
        f"{mode}_{soft_fail}": {"receipt": receipt, "soft_fail": soft_fail, **MODES[mode]}
        for mode in MODES
        for soft_fail in (False, True)
    }
    ran = wait(sensors)
    assert set(ran.states.values()) == {"failed"}
    for mode in MODES:
        assert isinstance(ran.errors[f"{mode}_False"][0], AirflowFailException)
        assert isinstance(ran.errors[f"{mode}_True"][0], DeepchecksAuthError)


def test_some_failed_looks_are_borne(server, monkeypatch):
    """Where a look has no memory, in reschedule mode, as many as the timeout allows."""
    receipt = uploaded()
    connection = {**json.loads(server.connection_json), "extra": {"retries": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", json.dumps(connection))
    for mode in MODES:
        for failures, expected in ((4, "success"), (7, "success" if mode == "reschedule" else "failed")):
            server.answer_next(503, b"<html>away</html>", path="time-window-statistics", times=failures)
            ran = wait({"sensor": {"receipt": receipt, "poke_interval": 0.05, **MODES[mode]}})
            assert ran.states == {"sensor": expected}, (mode, failures, ran.errors)
            server._state.faults.answers.clear()
    assert isinstance(ran.errors["sensor"][0], DeepchecksServerError)
    assert "5 looks in a row failed" in str(ran.errors["sensor"][0])


@pytest.mark.parametrize("event", [None, "done", {}, {"state": "odd", "message": ""}, {"message": "x"}])
def test_unknown_event_fails_loudly(event):
    sensor = DeepchecksPendingRowsSensor(task_id="s", model_name="m", deferrable=True, soft_fail=True)
    with pytest.raises(DeepchecksServerError, match="without a known outcome"):
        sensor.execute_complete({}, event)
    upload = DeepchecksLogBatchOperator(task_id="u", data=[], wait_for_ingestion=True, **TARGET)
    with pytest.raises(DeepchecksServerError, match="without a known outcome"):
        upload.execute_complete({}, event)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("Trigger failure", DeepchecksServerError),
        ("Trigger timeout", AirflowSkipException),
        ("Trigger/execution timeout", AirflowSkipException),
    ],
)
def test_trigger_that_cannot_be_loaded_is_no_skip(error, raised):
    """As on a triggerer without this package; soft_fail forgives time only."""
    told = {"error": error, "traceback": ["No module named 'airflow_provider_deepchecks'"]}
    sensor = DeepchecksPendingRowsSensor(task_id="s", model_name="m", deferrable=True, soft_fail=True)
    with pytest.raises(raised):
        sensor.resume_execution("__fail__", told, {})


def test_first_look_can_be_enough(server):
    """A sensor looks itself before it defers."""
    receipt = uploaded()
    before = time.monotonic()
    ran = wait({"sensor": {"receipt": receipt, "deferrable": True}}, poke_interval=600, timeout=3600)
    assert ran.state == "success"
    assert time.monotonic() - before < 300


@pytest.mark.parametrize(
    ("more", "longest"),
    [
        ({}, None),
        ({"exponential_backoff": True}, 3600.0),
        ({"exponential_backoff": True, "max_wait": 600}, 600.0),
    ],
)
def test_exponential_backoff_in_the_triggerer(server, more, longest):
    sensor = DeepchecksPendingRowsSensor(
        task_id="s", model_name="m", poke_interval=7, timeout=3600, deferrable=True, **more
    )
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    trigger = deferred.value.trigger
    assert (trigger.poll_interval, trigger.longest_interval) == (7.0, longest)


def test_config_error_is_a_value_error():
    sensor = DeepchecksPendingRowsSensor(task_id="s")
    with pytest.raises(DeepchecksConfigError):
        sensor.watch()
