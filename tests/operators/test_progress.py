# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What survives a failed attempt, what the log tells, and how an upload is stopped."""

from __future__ import annotations

import copy
import logging
import os
import signal
import threading
import time
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import task

from airflow_provider_deepchecks.delivery.upload import uploader
from airflow_provider_deepchecks.exceptions import DeepchecksServerError
from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook
from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator
from airflow_provider_deepchecks.records import intake
from tests.operators.conftest import LABELS, TARGET, make_rows, upload_with_a_fault
from tests.operators.test_bad_rows import account
from tests.runs import clear_once, new_dag, run_dag

#: Whether Airflow keeps the state of a task over its attempts.
HAS_TASK_STATE = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 3)

ROWS = make_rows(30)


@pytest.mark.parametrize("kept_in", ["task_state", "file", "nowhere"])
def test_retry_goes_on(faulty, tmp_path, caplog, kept_in):
    path = tmp_path / "checkpoint-{{ ds }}.json"
    more: dict[str, Any] = {
        "task_state": {},
        "file": {"checkpoint_path": str(path)},
        "nowhere": {"durable": False},
    }[kept_in]
    ran = upload_with_a_fault(faulty, ROWS, **more)
    assert (ran.states["upload"], ran.tries["upload"]) == ("success", 2), ran.errors
    receipt = ran.results["upload"]
    assert len(faulty.stored("m", "v1")) == 30
    assert faulty.errors("m") == []
    assert receipt["read"] == 30
    going_on = "Going on after 10 rows sent by an earlier attempt" in caplog.text
    resumed = kept_in == "file" or (kept_in == "task_state" and HAS_TASK_STATE)
    assert going_on == resumed
    # One account over both attempts where progress is kept; otherwise the first rows were there before.
    assert account(receipt) == ((30, 30, 0, 0, 0, 0) if resumed else (30, 20, 10, 0, 0, 0))
    assert list(tmp_path.iterdir()) == []  # success removes the checkpoint


def test_rows_without_a_time_keep_theirs_over_attempts(faulty, tmp_path, caplog):
    rows = [{name: value for name, value in row.items() if name != "t"} for row in ROWS]
    ran = upload_with_a_fault(faulty, rows, timestamp_column=None, checkpoint_path=str(tmp_path / "kept"))
    assert (ran.states["upload"], ran.tries["upload"]) == ("success", 2), ran.errors
    assert "Going on after 10 rows sent by an earlier attempt" in caplog.text
    assert account(ran.results["upload"]) == (30, 30, 0, 0, 0, 0)
    assert len({row["_dc_time"] for row in faulty.stored("m", "v1").values()}) == 1


def test_changed_source_starts_afresh(faulty, tmp_path, caplog):
    tables = iter([make_rows(30), make_rows(30, prefix="other")])
    path = tmp_path / "rows.parquet"

    def rows() -> str:
        pq.write_table(pa.Table.from_pylist(next(tables)), path)
        return str(path)

    ran = upload_with_a_fault(faulty, rows, checkpoint_path=str(tmp_path / "kept.json"), on_late_rows="send")
    assert (ran.states["upload"], ran.tries["upload"]) == ("success", 2), ran.errors
    assert "has changed since the attempt before: starting at the first row" in caplog.text
    assert account(ran.results["upload"])[0] == 30
    assert len(faulty.stored("m", "v1")) == 40


@pytest.mark.parametrize("kept_in", ["task_state", "file"])
def test_cleared_task_starts_afresh(server, tmp_path, caplog, kept_in):
    """Its attempts are used up; clearing it does not go on from where they stopped."""
    kept = tmp_path / "kept.json"
    server.answer_next(503, b"<html>away</html>", path="/data", times=1_000)
    with new_dag() as dag:
        upload = DeepchecksLogBatchOperator(
            task_id="upload",
            data=ROWS,
            send_timeout=0.2,
            checkpoint_path=str(kept) if kept_in == "file" else None,
            **TARGET,
        )
        clear = clear_once(dag.dag_id, "upload")

        def clear_and_mend() -> None:
            assert kept.exists() == (kept_in == "file")
            server._state.faults.answers.clear()
            clear()

        upload >> task(clear_and_mend, task_id="clear", trigger_rule="all_done")()
    ran = run_dag(dag)
    assert (ran.states["upload"], ran.tries["upload"]) == ("success", 2), ran.errors
    assert isinstance(ran.errors["upload"][0], DeepchecksServerError)
    was_kept = kept_in == "file" or HAS_TASK_STATE
    assert ("belongs to another run of this task: starting afresh" in caplog.text) == was_kept
    assert len(server.stored("m", "v1")) == 30
    assert not kept.exists()


# -- the log -----------------------------------------------------------------------------------------------


def test_log_tells_progress_and_ends_with_a_summary(server, caplog, monkeypatch):
    monkeypatch.setattr(uploader, "LOG_EVERY", 0.0)
    monkeypatch.setattr(intake, "LOG_EVERY", 0.0)
    caplog.set_level(logging.INFO, "airflow_provider_deepchecks")
    with new_dag() as dag:
        DeepchecksLogBatchOperator(task_id="upload", data=ROWS, samples_per_send=10, **TARGET)
    assert run_dag(dag).state == "success"
    told = [record.getMessage() for record in caplog.records if "deepchecks" in record.name]
    assert any(line == "30 rows read and checked." for line in told)
    progress = [line for line in told if " sent (" in line]
    assert [line.partition(",")[0] for line in progress] == [
        "10 rows sent (33%)",
        "20 rows sent (67%)",
        "30 rows sent (100%)",
    ]
    assert all(line.endswith("/s.") for line in progress)
    assert told[-1].startswith("model 'm', version 'v1': 30 rows read = 0 stored + 0 already stored + ")


# -- stopping ----------------------------------------------------------------------------------------------


def seconds_to_stop(operator: Any, ready: Any) -> float:
    """Run a task, end it when it is ready by the signal that Airflow sends, and tell how long it took.

    The tests' own process runs the task, so Airflow's handler of the signal is this process's.
    """
    stopped: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda *_: None)

    def stop() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not ready():
            time.sleep(0.01)
        stopped.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    with new_dag() as dag:
        dag.add_task(operator)
    threading.Thread(target=stop, daemon=True).start()
    try:
        assert run_dag(dag).states == {operator.task_id: "failed"}
    except BaseException as error:
        # Airflow 2.11's handler raises this besides, and the helper that runs the DAG lets it pass.
        if type(error).__name__ != "AirflowTaskTerminated":
            raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return time.monotonic() - stopped[0]


def test_kill_while_waiting_for_a_server_that_is_away(server):
    server.answer_next(503, b"<html>away</html>", path="/data", times=1_000)
    operator = DeepchecksLogBatchOperator(task_id="upload", data=ROWS, **TARGET)

    def away() -> bool:
        return sum(item.status == 503 for item in server.exchanges) >= 2

    assert seconds_to_stop(operator, away) < 15


def test_kill_while_reading(server):
    read = []

    def rows() -> Any:
        while True:
            read.append(1)
            time.sleep(0.02)
            yield pa.Table.from_pylist(make_rows(5, first=5 * len(read)))

    operator = DeepchecksLogBatchOperator(task_id="upload", data=rows, **TARGET)
    assert seconds_to_stop(operator, lambda: len(read) > 3) < 15
    assert server.stored("m", "v1") == {}
    checking = DeepchecksLogBatchOperator(task_id="check", data=rows, dry_run=True, **TARGET)
    read.clear()
    assert seconds_to_stop(checking, lambda: len(read) > 3) < 15


def test_kill_while_waiting_for_the_consumer(queue_server):
    queue_server.pause_consumer()
    operator = DeepchecksLogBatchOperator(
        task_id="upload", data=ROWS, wait_for_ingestion=True, poll_interval=600, **TARGET
    )

    def waits() -> bool:
        return any(item.path.endswith("/versions") for item in queue_server.exchanges)

    assert seconds_to_stop(operator, waits) < 15


def test_airflow_can_copy_the_task():
    """As it does for a part of a DAG."""
    operator = DeepchecksLogBatchOperator(task_id="upload", data=ROWS, **TARGET)
    assert copy.deepcopy(operator).task_id == "upload"


# -- link and lineage --------------------------------------------------------------------------------------


def test_link_and_lineage(server, monkeypatch):
    told = []
    monkeypatch.setattr(DeepchecksHook, "report_lineage", lambda self, *names: told.append(names))
    with new_dag() as dag:
        up = DeepchecksLogBatchOperator(task_id="upload", data=ROWS, **TARGET)
        DeepchecksLogLabelsOperator(task_id="labels", data=[{"id": "s00000", "y": 1.0}], **LABELS) << up
        DeepchecksLogBatchOperator(task_id="bad", data=[{**ROWS[0], "t": None}], **TARGET)

        @task(trigger_rule="all_done")
        def links(ti: Any = None) -> list[str]:
            return [
                ti.xcom_pull(task_ids=name, key="deepchecks_model_url")
                for name in ("upload", "labels", "bad")
            ]

        dag.get_task("bad") >> links() << dag.get_task("labels")
    ran = run_dag(dag)
    assert ran.states["bad"] == "failed"
    # The failed task has its link as well.
    assert ran.results["links"] == 3 * [f"{server.url}/dashboard?modelId=1"]
    assert sorted(told, key=str) == [("m", "v1"), ("m", None)]
