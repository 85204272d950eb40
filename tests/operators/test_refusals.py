# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the server lists about the rows is told and kept when waiting ends, by operators and sensors alike."""

from __future__ import annotations

import json
import threading
from typing import Any

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import task

from airflow_provider_deepchecks.delivery.proof.watch import Sighting
from airflow_provider_deepchecks.exceptions import DeepchecksServerError
from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook
from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator
from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor
from tests.operators.conftest import LABELS, TARGET, make_rows, refuse_label
from tests.runs import new_dag, run_dag
from tests.sensors.conftest import MODES, refused, rows_refused, uploaded

DEFERRABLE = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])


def kept(path: Any) -> list[Any]:
    return sorted(pq.read_table(path).column("sample_id").to_pylist())


def sense(receipt: Any, **more: Any) -> Any:
    """Run a sensor in each mode, each with a file of its own for what is listed."""
    with new_dag(poke_interval=0.3, timeout=30, **more) as dag:
        for mode, arguments in MODES.items():
            path = receipt["errors_path"] and receipt["errors_path"].replace("-errors", f"-errors-{mode}")
            DeepchecksPendingRowsSensor(task_id=mode, receipt={**receipt, "errors_path": path}, **arguments)
    return run_dag(dag)


@DEFERRABLE
@pytest.mark.parametrize("max_refused", [0, 4], ids=["refused", "settled"])
def test_operator(queue_server, tmp_path, caplog, deferrable, max_refused):
    path = str(tmp_path / "{{ ds }}" / "bad.parquet")
    with new_dag() as dag:
        DeepchecksLogBatchOperator(
            task_id="upload",
            data=rows_refused(queue_server),
            wait_for_ingestion=True,
            max_refused=max_refused,
            poll_interval=0.2,
            deferrable=deferrable,
            quarantine_path=path,
            **TARGET,
        )
    ran = run_dag(dag)
    assert ran.states["upload"] == ("success" if max_refused else "failed"), ran.errors
    place = tmp_path / "2026-01-02" / "bad-errors.parquet"
    assert kept(place) == [f"s{number:05d}" for number in range(4)]
    assert list(place.parent.iterdir()) == [place]
    assert caplog.text.count("The server refused 4 rows: Got future timestamp") == 1
    if max_refused:
        assert ran.results["upload"]["errors_path"] == str(place)


@pytest.mark.parametrize("max_refused", [0, 4], ids=["refused", "settled"])
def test_sensor(queue_server, tmp_path, caplog, max_refused):
    """The receipt says where; the quarantine's own file need not be there."""
    receipt = refused(queue_server, quarantine_path=str(tmp_path / "bad.parquet"))
    assert receipt["errors_path"] == str(tmp_path / "bad-errors.parquet")
    assert receipt["quarantine_path"] is None
    assert "The server refused" not in caplog.text
    ran = sense(receipt, max_refused=max_refused)
    for mode in MODES:
        assert ran.states[mode] == ("success" if max_refused else "failed"), ran.errors
        assert kept(tmp_path / f"bad-errors-{mode}.parquet") == [f"s{number:05d}" for number in range(4)]
    assert caplog.text.count("The server refused 4 rows: Got future timestamp") == len(MODES)


def test_mapped_tasks_that_share_a_path_keep_their_lists_apart(queue_server, tmp_path):
    """No task sets a row aside, so that one path does for all; then the server refuses some of each."""
    queue_server.pause_consumer()
    parts = [make_rows(1, first=number) for number in range(2)]
    paths = [tmp_path / f"{number}.jsonl" for number in range(2)]
    for path, rows in zip(paths, parts, strict=True):
        path.write_text(json.dumps(rows[0]))
    with new_dag() as dag:
        upload = DeepchecksLogBatchOperator.partial(
            task_id="upload", quarantine_path=str(tmp_path / "bad.parquet"), **TARGET
        ).expand(data=list(map(str, paths)))

        @task
        def refuse() -> None:
            queue_server.lose_next_poll()
            queue_server.resume_consumer()
            queue_server.wait_until_idle()
            for (row,) in parts:
                bad = {"_dc_sample_id": row["id"], "_dc_time": row["t"], "_dc_prediction": "x", "x": 1.0}
                queue_server.call("POST", "/model-versions/1/data", [bad])

        sensor = DeepchecksPendingRowsSensor.partial(
            task_id="sensor", max_refused=1, poke_interval=0.3, timeout=60
        ).expand(receipt=upload.output)
        upload >> refuse() >> sensor
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    for number in range(2):
        assert kept(tmp_path / f"bad-errors-{number}.parquet") == [f"s{number:05d}"]


def test_without_a_quarantine_only_the_log_tells(queue_server, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    receipt = refused(queue_server)
    assert receipt["errors_path"] is None
    sense(receipt)
    assert caplog.text.count("The server refused 4 rows: Got future timestamp") == len(MODES)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_in_ask_for_no_list(server, tmp_path, monkeypatch):
    receipt = uploaded(quarantine_path=str(tmp_path / "bad.parquet"))
    asked: list[Any] = []
    monkeypatch.setattr(
        "airflow_provider_deepchecks.delivery.proof.outcome.keep_errors", lambda *given: asked.append(given)
    )
    ran = sense(receipt)
    assert set(ran.states.values()) == {"success"}
    assert asked == []
    assert list(tmp_path.iterdir()) == []


def test_lost_rows_and_what_was_refused(queue_server, tmp_path):
    """Some rows are lost, and others of the same window are listed: the list is kept all the same."""
    queue_server.pause_consumer()
    receipt = uploaded(quarantine_path=str(tmp_path / "bad.parquet"))
    queue_server.lose_next_poll()
    queue_server.resume_consumer()
    queue_server.wait_until_idle()
    row = {"_dc_sample_id": "s00000", "_dc_time": receipt["window_start"], "_dc_prediction": "x", "x": 1.0}
    queue_server.call("POST", "/model-versions/1/data", [row])
    ran = sense(receipt, lost_after=1.0)
    assert set(ran.states.values()) == {"failed"}
    for mode in MODES:
        assert "neither stored nor listed" in str(ran.errors[mode][0])
        assert kept(tmp_path / f"bad-errors-{mode}.parquet") == ["s00000"]


def test_labels(server, tmp_path):
    uploaded(make_rows(3))
    wrong = [{"id": f"s{number:05d}", "y": 1.0} for number in range(3)]
    with new_dag() as dag:
        DeepchecksLogLabelsOperator(
            task_id="labels", data=wrong, quarantine_path=str(tmp_path / "bad.parquet"), **LABELS
        )
    receipt = run_dag(dag).results["labels"]
    refuse_label(server, "s00001")
    ran = sense(receipt, max_refused=3)
    assert set(ran.states.values()) == {"success"}, ran.errors
    assert kept(tmp_path / "bad-errors-poke.parquet") == ["s00001"]


@DEFERRABLE
def test_trouble_with_the_list_hides_no_outcome(queue_server, tmp_path, caplog, monkeypatch, deferrable):
    """Neither a file that cannot be written nor a server that is gone by then."""
    worker = threading.current_thread()

    def away(*_: Any, **__: Any) -> Any:
        assert threading.current_thread() is worker, "the triggerer reads no list for this"
        raise DeepchecksServerError("gone")

    receipt = refused(queue_server)
    receipts = {
        "file": {**receipt, "errors_path": "/proc/nowhere/errors.parquet"},
        "scheme": {**receipt, "errors_path": "nosuch://errors.parquet"},
    }
    with new_dag(poke_interval=0.3, timeout=30, deferrable=deferrable) as dag:
        for name, given in receipts.items():
            DeepchecksPendingRowsSensor(task_id=name, receipt=given)
            DeepchecksPendingRowsSensor(task_id=f"{name}_allowed", receipt=given, max_refused=4)
    ran = run_dag(dag)
    for name in receipts:
        assert "refused 4 rows" in str(ran.errors[name][0])
        assert ran.states[f"{name}_allowed"] == "success"
    assert "/proc/nowhere" in caplog.text
    monkeypatch.setattr("airflow_provider_deepchecks.delivery.proof.outcome.keep_errors", away)
    with new_dag(poke_interval=0.3, timeout=30, deferrable=deferrable) as dag:
        DeepchecksPendingRowsSensor(task_id="away", receipt=receipt)
    ran = run_dag(dag)
    assert "refused 4 rows" in str(ran.errors["away"][0])
    assert "cannot be read: gone" in caplog.text


def test_after_the_trigger_it_is_done_on_the_worker(queue_server, tmp_path, monkeypatch):
    """Only the receipt in the event is at hand there."""
    receipt = refused(queue_server, quarantine_path=str(tmp_path / "bad.parquet"))
    sensor = DeepchecksPendingRowsSensor(task_id="s", receipt=receipt, max_refused=4, deferrable=True)
    with DeepchecksHook().get_conn() as client:
        sighting = sensor.watch().look(client, 0.0, str)
        assert list(tmp_path.iterdir()) == []
        while sighting.waiting:
            sighting = sensor.watch().look(client, 0.0, str)
    assert Sighting.from_dict(sighting.to_dict()) == sighting
    sensor.execute_complete({}, sighting.to_dict())
    assert kept(tmp_path / "bad-errors.parquet") == [f"s{number:05d}" for number in range(4)]
