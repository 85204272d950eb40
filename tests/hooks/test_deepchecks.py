# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from airflow_provider_deepchecks.exceptions import (
    DeepchecksColumnsError,
    DeepchecksConfigError,
    DeepchecksInvalidRowsError,
    DeepchecksLateRowsError,
    DeepchecksNotFoundError,
)
from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook
from tests.client.raw_server import RawServer

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def version(deepchecks_server):
    return deepchecks_server.create_model("m", "regression", features={"x": "numeric"})


def put(server, version, count, **changes):
    rows = [
        {
            "_dc_sample_id": f"s{n}",
            "_dc_time": (START + timedelta(seconds=n)).isoformat(),
            "_dc_prediction": 1.5,
            "x": 0.5,
        }
        | changes
        for n in range(count)
    ]
    server.call("POST", f"/model-versions/{version.id}/data", rows)


# -- the connection ----------------------------------------------------------------------------------------


def test_nothing_is_read_before_it_is_needed():
    hook = DeepchecksHook("no_such_connection")
    assert hook.deepchecks_conn_id == "no_such_connection"
    assert DeepchecksHook().deepchecks_conn_id == "deepchecks_default"


def test_client_is_made_once(deepchecks_server):
    hook = DeepchecksHook()
    assert hook.get_conn() is hook.get_conn()
    assert hook.settings.base_url == deepchecks_server.url
    assert hook.samples_per_send == 10_000


def test_connection_test_tells_version_and_models(deepchecks_server, version):
    worked, message = DeepchecksHook().test_connection()
    assert worked
    assert "0.19.3" in message
    assert "1 model(s)" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "abc.CaNaRy"}, "token"),
        ({"password": "CaNaRy\n"}, "password"),
        ({"host": "http://127.0.0.1:1"}, "host and port"),
        ({"host": "http://dc.example.com"}, "allow_plain_http"),
        ({"extra": {"timeout": "x"}}, "timeout"),
    ],
)
def test_connection_test_tells_what_is_wrong(deepchecks_server, monkeypatch, change, words):
    fields = json.loads(deepchecks_server.connection_json) | change
    monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", json.dumps(fields))
    worked, message = DeepchecksHook().test_connection()
    assert not worked
    assert words in message
    assert "CaNaRy" not in message


def test_connection_test_without_a_connection():
    worked, message = DeepchecksHook("no_such_connection").test_connection()
    assert not worked
    assert "no_such_connection" in message


def test_connection_test_is_bounded(monkeypatch):
    monkeypatch.setattr("airflow_provider_deepchecks.hooks.deepchecks.TEST_SECONDS", 0.3)
    told = threading.Event()
    with RawServer(lambda connection, request: told.wait(60)) as server:
        fields = {"conn_type": "deepchecks", "host": server.url, "password": "abc.def"}
        monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", json.dumps(fields))
        started = time.monotonic()
        worked, message = DeepchecksHook().test_connection()
        # The connection's own timeout is 60 s.
        assert time.monotonic() - started < 30
        told.set()
    assert not worked
    assert "no answer" in message


def test_connection_test_never_raises(deepchecks_server, monkeypatch):
    def broken(self):
        raise ZeroDivisionError("CaNaRy")

    monkeypatch.setattr("airflow_provider_deepchecks.client.api.DeepchecksClient.backend_version", broken)
    assert DeepchecksHook().test_connection() == (False, "The test failed with ZeroDivisionError.")


# -- reading -----------------------------------------------------------------------------------------------


def test_model_and_version_by_name(deepchecks_server, version):
    hook = DeepchecksHook()
    assert hook.get_model("m").id == version.model_id
    assert hook.get_model_version("m", "v1").id == version.id
    with pytest.raises(DeepchecksNotFoundError, match="There are: 'm'"):
        hook.get_model("n")
    with pytest.raises(DeepchecksNotFoundError, match="There are: 'v1'"):
        hook.get_model_version("m", "v2")


def test_ingestion_status(deepchecks_server, version):
    put(deepchecks_server, version, 3)
    deepchecks_server.call(
        "PUT", f"/model/{version.model_id}/labels", [{"_dc_sample_id": "s0", "_dc_label": 1}]
    )
    status = DeepchecksHook().get_ingestion_status("m", "v1")
    assert (status.pending_rows, status.samples, status.labeled) == (0, 3, 1)
    assert status.latest_sample == START + timedelta(seconds=2)
    assert abs(status.last_update - datetime.now(UTC)) < timedelta(minutes=1)


def test_ingestion_errors(deepchecks_server, version):
    put(deepchecks_server, version, 5, x="text")
    hook = DeepchecksHook()
    found = hook.get_ingestion_errors("m", "v1")
    assert {error.sample_id for error in found} == {f"s{n}" for n in range(5)}
    assert len(hook.get_ingestion_errors("m", limit=2)) == 2
    assert hook.get_ingestion_errors("m", start=datetime.now(UTC) + timedelta(hours=1)) == []
    with pytest.raises(DeepchecksConfigError, match="time zone"):
        hook.get_ingestion_errors("m", start=datetime(2026, 1, 1))


# -- lineage -----------------------------------------------------------------------------------------------


def test_lineage(deepchecks_server, monkeypatch):
    from airflow.providers.common.compat.sdk import HookLineageCollector

    collector = HookLineageCollector()
    target = "airflow.providers.common.compat.sdk.get_hook_lineage_collector"
    monkeypatch.setattr(target, lambda: collector, raising=False)
    hook = DeepchecksHook()
    hook.report_lineage("a/b", "v 1")
    hook.report_lineage("m")
    host = deepchecks_server.url.removeprefix("http://")
    collected = collector.collected_assets.outputs
    assert {item.asset.uri for item in collected} == {
        f"deepchecks://{host}/a%2Fb/v%201",
        f"deepchecks://{host}/m",
    }


# -- writing -----------------------------------------------------------------------------------------------


def test_log_batch(deepchecks_server):
    deepchecks_server.create_model(
        "c",
        "binary",
        features={"x": "numeric", "city": "categorical"},
        additional_data={"note": "text"},
        classes=["n", "y"],
    )
    receipt = DeepchecksHook().log_batch(
        np.array(["b", "a", "c"]),
        pd.DataFrame(
            {"x": [2.5, 1.5, 3.5], "city": ["v", "u", None], "note": ["k", "l", "m"]}, index=[9, 9, 2]
        ),
        ["y", "n", "y"],
        np.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]]),
        [int(START.timestamp()) + 1, int(START.timestamp()), int(START.timestamp()) + 2],
        samples_per_send=2,
        model_name="c",
        model_version="v1",
    )
    assert (receipt["kind"], receipt["read"], receipt["sent"], receipt["waiting"]) == ("samples", 3, 3, 3)
    assert receipt["window_start"] == START.isoformat()
    assert json.loads(json.dumps(receipt)) == receipt
    stored = deepchecks_server.stored("c", "v1")
    assert list(stored) == ["a", "b", "c"], "in time order"
    b = stored["b"]
    assert (b["x"], b["city"], b["note"], b["_dc_prediction"]) == (2.5, "v", "k", "y")
    assert b["_dc_prediction_probabilities"] == [0.25, 0.75]
    assert stored["c"]["city"] is None
    posts = [exchange for exchange in deepchecks_server.exchanges if exchange.path.endswith("/data")]
    assert len(posts) == 2


def test_log_batch_without_data_and_times(deepchecks_server, caplog):
    deepchecks_server.create_model("m", "regression", features={})
    before = datetime.now(UTC)
    with caplog.at_level(logging.WARNING):
        DeepchecksHook().log_batch([1, 2], None, [1, 2.5], model_name="m", model_version="v1")
    assert "time of this upload" in caplog.text
    stored = deepchecks_server.stored("m", "v1")
    assert {name: row["_dc_prediction"] for name, row in stored.items()} == {"1": 1.0, "2": 2.5}
    for row in stored.values():
        assert abs(datetime.fromisoformat(row["_dc_time"]) - before) < timedelta(seconds=10)


@pytest.mark.parametrize(
    "times",
    [
        [START, START + timedelta(seconds=1)],
        ["2026-01-01T00:00:00Z", "2026-01-01T02:00:01+02:00"],
        pd.date_range("2026-01-01", periods=2, freq="s", tz="UTC"),
        pa.array([START, START + timedelta(seconds=1)]),
        np.array([1767225600, 1767225601]),
        [1767225600.0, 1767225601.0],
    ],
)
def test_times_of_any_kind(deepchecks_server, version, times):
    DeepchecksHook().log_batch(
        ["a", "b"], {"x": [1, 2]}, [1, 2], None, times, model_name="m", model_version="v1"
    )
    stored = deepchecks_server.stored("m", "v1")
    found = [datetime.fromisoformat(stored[name]["_dc_time"].replace("Z", "+00:00")) for name in ("a", "b")]
    assert found == [START, START + timedelta(seconds=1)]


def test_naive_times_and_other_units(deepchecks_server, version):
    hook = DeepchecksHook()
    target = {"model_name": "m", "model_version": "v1"}
    with pytest.raises(DeepchecksInvalidRowsError):
        hook.log_batch(["a"], {"x": [1]}, [1], None, ["2026-01-01T00:00:00"], **target)
    assert deepchecks_server.stored("m", "v1") == {}
    hook.log_batch(["a"], {"x": [1]}, [1], None, ["2026-01-01T00:00:00"], timezone="Europe/Paris", **target)
    hook.log_batch(["b"], {"x": [1]}, [1], None, [1767225600000], timestamp_unit="ms", **target)
    times = {name: row["_dc_time"] for name, row in deepchecks_server.stored("m", "v1").items()}
    assert times["a"].startswith("2025-12-31T23:00:00")
    assert times["b"].startswith("2026-01-01T00:00:00")


def test_bad_rows_stop_the_batch(deepchecks_server, version):
    hook = DeepchecksHook()
    target = {"model_name": "m", "model_version": "v1"}
    with pytest.raises(DeepchecksInvalidRowsError, match=r"'b'.*_dc_prediction"):
        hook.log_batch(["a", "b"], {"x": [1, 2]}, [1, None], None, [START, START], **target)
    with pytest.raises(DeepchecksColumnsError, match="x"):
        hook.log_batch(["a"], {"x": ["text"]}, [1], None, [START], **target)
    with pytest.raises(DeepchecksColumnsError, match="x"):
        hook.log_batch(["a"], {"y": [1]}, [1], None, [START], **target)
    with pytest.raises(DeepchecksConfigError, match="at least 1"):
        hook.log_batch(["a"], {"x": [1]}, [1], None, [START], 0, **target)
    with pytest.raises(DeepchecksConfigError, match="on_late_rows"):
        hook.log_batch(["a"], {"x": [1]}, [1], None, [START], on_late_rows="quarantine", **target)
    assert deepchecks_server.stored("m", "v1") == {}


def test_late_rows_fail_unless_they_may_be_sent(deepchecks_server, version):
    hook = DeepchecksHook()
    target = {"model_name": "m", "model_version": "v1"}
    hook.log_sample("new", 1, {"x": 1}, None, START + timedelta(hours=1), **target)
    with pytest.raises(DeepchecksLateRowsError):
        hook.log_sample("old", 1, {"x": 1}, None, START, **target)
    hook.log_sample("old", 1, {"x": 1}, None, START, on_late_rows="send", **target)
    assert set(deepchecks_server.stored("m", "v1")) == {"new", "old"}


def test_log_sample(deepchecks_server):
    deepchecks_server.create_model("c", "multiclass", features={"x": "integer"}, classes=["a", "b"])
    receipt = DeepchecksHook().log_sample(
        7, "a", {"x": 3}, [0.5, 0.5], START, model_name="c", model_version="v1"
    )
    assert receipt["sent"] == 1
    (row,) = deepchecks_server.stored("c", "v1").values()
    assert row["x"] == 3
    assert row["_dc_prediction"] == "a"
    assert row["_dc_prediction_probabilities"] == [0.5, 0.5]


def test_labels(deepchecks_server, version):
    put(deepchecks_server, version, 3)
    hook = DeepchecksHook()
    receipt = hook.log_batch_labels(pd.Series(["s0", "s1"], index=[4, 4]), np.array([1, 2.5]), model_name="m")
    assert (receipt["kind"], receipt["sent"]) == ("labels", 2)
    hook.log_label("s2", 3, model_name="m", model_version="v1")
    assert deepchecks_server.labels("m") == {"s0": 1.0, "s1": 2.5, "s2": 3.0}


def test_lineage_of_what_was_sent(deepchecks_server, version, monkeypatch):
    told = []
    monkeypatch.setattr(DeepchecksHook, "report_lineage", lambda self, *names: told.append(names))
    hook = DeepchecksHook()
    hook.log_sample("a", 1, {"x": 1}, None, START, model_name="m", model_version="v1")
    hook.log_label("a", 1, model_name="m")
    with pytest.raises(DeepchecksNotFoundError):
        hook.log_label("a", 1, model_name="n")
    assert told == [("m", "v1"), ("m", None)]


def test_retry_of_a_task_sends_nothing_twice(deepchecks_server, version, monkeypatch):
    """The first try sent the first rows and died; the retry knows that it is one."""
    hook = DeepchecksHook()
    target = {"model_name": "m", "model_version": "v1"}
    times = [START + timedelta(seconds=n) for n in range(4)]
    hook.log_batch(["s0", "s1"], {"x": [0, 1]}, [0, 1], None, times[:2], **target)

    class Retried:
        try_number = 2

    monkeypatch.setattr(
        "airflow_provider_deepchecks.hooks.deepchecks.get_current_context", lambda: {"ti": Retried()}
    )
    receipt = hook.log_batch(["s0", "s1", "s2", "s3"], {"x": range(4)}, range(4), None, times, **target)
    assert receipt["read"] == 4
    assert receipt["already_stored"] == 2
    assert len(deepchecks_server.stored("m", "v1")) == 4
    assert hook.get_ingestion_errors("m") == []


@pytest.mark.parametrize("value", [0, 1.5, "100"])
def test_numbers_that_cannot_be_are_named(deepchecks_server, version, value):
    hook = DeepchecksHook()
    with pytest.raises(DeepchecksConfigError, match=f"samples_per_send={value!r}; give a whole number"):
        hook.log_batch(
            ["s"], {"x": [1]}, [1], None, [0], samples_per_send=value, model_name="m", model_version="v1"
        )
    with pytest.raises(DeepchecksConfigError, match=f"labels_per_send={value!r}; give a whole number"):
        hook.log_batch_labels(["s"], [1], labels_per_send=value, model_name="m")
    with pytest.raises(DeepchecksConfigError, match="limit=-1; give a whole number of at least 0"):
        hook.get_ingestion_errors("m", limit=-1)
    assert deepchecks_server.stored("m", "v1") == {}
