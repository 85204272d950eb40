# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""``status_table``: what became of each row, in a table, whoever saw the end."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook, task

from airflow_provider_deepchecks.client.api import DeepchecksClient
from airflow_provider_deepchecks.delivery.upload import batch as batch_module
from airflow_provider_deepchecks.exceptions import (
    DeepchecksLostRowsError,
    DeepchecksMissingConnectionError,
    DeepchecksPayloadTooLargeError,
    DeepchecksServerError,
    DeepchecksStalledError,
    DeepchecksWriteBackError,
)
from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator
from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor
from tests.operators.conftest import LABELS, TARGET, make_rows, refuse_label, upload_with_a_fault
from tests.runs import DAY, clear_once, new_dag, run_dag
from tests.sensors.conftest import MODES, rows_refused, uploaded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.services import Service

DEFERRABLE = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
TABLE: dict[str, Any] = {"status_table": "statuses_{{ ds_nodash }}", "status_conn_id": "{{ 'statuses' }}"}
NAME = "statuses_20260102"


class Statuses:
    """The SQLite database of the connection ``statuses``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as database:
            return database.execute(f"SELECT id, status, reason, run FROM {NAME}").fetchall()

    def by_id(self) -> dict[Any, tuple[str, str | None]]:
        found = {row[0]: (row[1], row[2]) for row in self.read()}
        assert len(found) == len(self.read())
        return found

    def counts(self) -> Mapping[str, int]:
        return Counter(row[1] for row in self.read())


def point_to(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    connection = {"conn_type": "sqlite", "host": str(path)}
    monkeypatch.setenv("AIRFLOW_CONN_STATUSES", json.dumps(connection))


@pytest.fixture
def statuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Statuses:
    point_to(monkeypatch, tmp_path / "statuses.db")
    return Statuses(tmp_path / "statuses.db")


@pytest.fixture
def too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy before the server takes no request with the row ``s00002``."""
    send = DeepchecksClient.send_samples

    def proxied(self: Any, version_id: int, body: bytes, rows: int) -> Any:
        if b"s00002" in body:
            raise DeepchecksPayloadTooLargeError("too large")
        return send(self, version_id, body, rows)

    monkeypatch.setattr(DeepchecksClient, "send_samples", proxied)


def upload(data: Any, **more: Any) -> Any:
    settings = {name: more.pop(name) for name in ("retries",) if name in more}
    with new_dag(**settings) as dag:
        DeepchecksLogBatchOperator(
            task_id="upload", data=data, **{"poll_interval": 0.2, **TABLE, **TARGET, **more}
        )
    return run_dag(dag)


def sense(receipt: Any, **more: Any) -> Any:
    with new_dag(poke_interval=0.3, timeout=30) as dag:
        DeepchecksPendingRowsSensor(task_id="sensor", receipt=receipt, **more)
    return run_dag(dag)


QUARANTINE = {"on_invalid_rows": "quarantine"}
BAD = [{**make_rows(1)[0], "id": None, "p": None}, {**make_rows(5)[4], "id": "s00001"}]


# -- from sending to the end -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_rows_wait_until_a_sensor_has_seen_them(server, statuses, tmp_path, mode):
    path = str(tmp_path / "bad.parquet")
    ran = upload([*make_rows(4), *BAD], **QUARANTINE, quarantine_path=path)
    receipt = ran.results["upload"]
    run = f"{receipt['write_back']['run']}"
    assert receipt["write_back"] == {"table": NAME, "conn_id": "statuses", "run": run}
    assert run.endswith(f"/upload/{ran.run_id}")
    waiting = [(f"s{number:05d}", "waiting", None, run) for number in range(4)]
    bad = [
        (None, "quarantined", "id: sample id is missing; p: value is missing", run),
        ("s00001", "quarantined", "id: sample id twice in this run: 's00001'", run),
    ]
    assert sorted(statuses.read(), key=str) == sorted([*waiting, *bad], key=str)
    assert sense(receipt, **MODES[mode]).state == "success"
    stored = [(row[0], "stored", None, run) for row in waiting]
    assert sorted(statuses.read(), key=str) == sorted([*stored, *bad], key=str)


@DEFERRABLE
@pytest.mark.parametrize("max_refused", [0, 4], ids=["refused", "settled"])
def test_rows_refused_after_the_200(queue_server, statuses, deferrable, max_refused):
    ran = upload(
        rows_refused(queue_server),
        wait_for_ingestion=True,
        deferrable=deferrable,
        max_refused=max_refused,
    )
    assert ran.states["upload"] == ("success" if max_refused else "failed"), ran.errors
    found = statuses.by_id()
    assert {found[f"s{number:05d}"] for number in range(4)} == {("refused", "Got future timestamp")}
    assert {found[f"s{number:05d}"] for number in range(4, 20)} == {("stored", None)}
    assert len(found) == 20


@pytest.mark.parametrize("mode", MODES)
def test_rows_refused_are_seen_by_a_sensor(queue_server, statuses, mode):
    receipt = upload(rows_refused(queue_server)).results["upload"]
    assert statuses.counts() == {"waiting": 20}
    ran = sense(receipt, **MODES[mode])
    assert "refused 4 rows" in str(ran.errors["sensor"][0])
    assert statuses.counts() == {"stored": 16, "refused": 4}


@DEFERRABLE
def test_lost_rows_stay_waiting_and_a_retry_replaces_them(queue_server, statuses, deferrable):
    queue_server.pause_consumer()
    ran = upload(make_rows(30), wait_for_ingestion=True, wait_timeout=0.5, deferrable=deferrable)
    assert isinstance(ran.errors["upload"][0], DeepchecksStalledError)
    assert statuses.counts() == {"waiting": 30}
    receipt = uploaded(make_rows(30, first=30), **TABLE)
    queue_server.lose_next_poll()
    queue_server.resume_consumer()
    ran = sense(receipt, lost_after=1.0, deferrable=deferrable)
    assert "neither stored nor listed" in str(ran.errors["sensor"][0])
    assert statuses.counts() == {"waiting": 60}


def test_lost_rows_sent_again_are_stored(queue_server, statuses):
    queue_server.lose_next_poll()
    ran = upload(make_rows(30), wait_for_ingestion=True, lost_after=1.5, retries=1)
    assert (ran.states["upload"], ran.tries["upload"]) == ("success", 2), ran.errors
    assert isinstance(ran.errors["upload"][0], DeepchecksLostRowsError)
    assert statuses.counts() == {"stored": 30}


@pytest.mark.parametrize("quarantined", [True, False])
def test_rows_that_the_server_cannot_take(server, statuses, too_large, tmp_path, quarantined):
    kept = {**QUARANTINE, "quarantine_path": str(tmp_path / "bad.parquet")}
    more: dict[str, Any] = kept if quarantined else {}
    ran = upload(make_rows(5), wait_for_ingestion=True, max_refused=1, **more)
    receipt = ran.results["upload"]
    assert (receipt["refused"], receipt["quarantined"]) == ((0, 1) if quarantined else (1, 0))
    found = statuses.by_id()
    status, reason = found.pop("s00002")
    assert status == ("quarantined" if quarantined else "refused")
    assert "too large for a proxy" in str(reason)
    assert found == {f"s{number:05d}": ("stored", None) for number in (0, 1, 3, 4)}


def test_labels(server, statuses, tmp_path):
    uploaded(make_rows(5))
    rows = [{"id": f"s{number:05d}", "y": None if number == 1 else 1.0} for number in range(5)]
    with new_dag() as dag:
        labels = DeepchecksLogLabelsOperator(
            task_id="labels",
            data=rows,
            **QUARANTINE,
            quarantine_path=str(tmp_path / "bad.parquet"),
            **TABLE,
            **LABELS,
        )

        @task
        def one_is_refused() -> None:
            assert statuses.counts() == {"waiting": 4, "quarantined": 1}
            refuse_label(server, "s00003")

        sensor = DeepchecksPendingRowsSensor(task_id="sensor", receipt=labels.output, max_refused=1)
        labels >> one_is_refused() >> sensor
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    found = statuses.by_id()
    assert found["s00001"][0] == "quarantined"
    assert found["s00003"][0] == "refused"
    assert "Exception saving label" in str(found["s00003"][1])
    assert {found[name][0] for name in ("s00000", "s00002", "s00004")} == {"stored"}


# -- again, and in parts -----------------------------------------------------------------------------------


def test_a_task_run_again_replaces_its_rows_and_no_others(server, statuses):
    parts = iter([make_rows(6), make_rows(3)])
    with new_dag() as dag:
        first = DeepchecksLogBatchOperator(
            task_id="upload", data=lambda: next(parts), wait_for_ingestion=True, **TABLE, **TARGET
        )
        other = DeepchecksLogBatchOperator(
            task_id="other", data=make_rows(4), wait_for_ingestion=True, **TABLE, **TARGET
        )
        first >> other >> task(clear_once(dag.dag_id, "upload"), task_id="clear")()
    ran = run_dag(dag)
    assert (ran.state, ran.tries["upload"]) == ("success", 2), ran.errors
    runs = Counter(row[3].split("/")[1] for row in statuses.read())
    assert runs == {"upload": 3, "other": 4}
    assert statuses.counts() == {"stored": 7}


def test_mapped_tasks_are_runs_of_their_own(server, statuses, tmp_path):
    paths = [tmp_path / f"part{count}.json" for count in (2, 3)]
    for count, path in zip((2, 3), paths, strict=True):
        path.write_text("\n".join(map(json.dumps, make_rows(count))))
    with new_dag() as dag:
        DeepchecksLogBatchOperator.partial(
            task_id="upload", max_active_tis_per_dag=1, **TABLE, **TARGET
        ).expand(data=[str(path) for path in paths])
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    runs = Counter(row[3] for row in statuses.read())
    assert runs == {f"{dag.dag_id}/upload/{ran.run_id}/0": 2, f"{dag.dag_id}/upload/{ran.run_id}/1": 3}


@pytest.mark.parametrize("kept", [True, False], ids=["resumed", "afresh"])
def test_a_retry_after_a_failure_tells_all_rows(
    faulty,
    statuses,
    too_large,
    tmp_path,
    caplog,
    kept,
):
    """A row that the first attempt set aside, and one that the server could not take, are told once."""
    rows = [*make_rows(1), {**make_rows(2)[1], "p": None}, *make_rows(28, first=2)]
    more: dict[str, Any] = {"checkpoint_path": str(tmp_path / "kept.json")} if kept else {"durable": False}
    ran = upload_with_a_fault(
        faulty,
        rows,
        **QUARANTINE,
        quarantine_path=str(tmp_path / "bad.parquet"),
        samples_per_send=4,
        **TABLE,
        **more,
    )
    assert (ran.states["upload"], ran.tries["upload"]) == ("success", 2), ran.errors
    assert ("sent by an earlier attempt" in caplog.text) == kept
    found = statuses.by_id()
    assert Counter(status for status, _ in found.values()) == {"stored": 28, "quarantined": 2}
    assert "value is missing" in str(found["s00001"][1])
    assert "too large" in str(found["s00002"][1])


def test_rows_that_changed_since_are_told_anew(faulty, statuses, tmp_path):
    """The retry begins to go on, sees other rows and starts at the first: none of before is left."""
    path = tmp_path / "rows.json"
    parts = iter([make_rows(30), make_rows(30, prefix="t")])

    def rows() -> str:
        bad = {**make_rows(1)[0], "id": "bad", "p": None}
        path.write_text("\n".join(map(json.dumps, [bad, *next(parts)])))
        return str(path)

    ran = upload_with_a_fault(
        faulty,
        rows,
        checkpoint_path=str(tmp_path / "kept.json"),
        on_late_rows="send",
        **QUARANTINE,
        quarantine_path=str(tmp_path / "bad.parquet"),
        **TABLE,
    )
    assert (ran.states["upload"], ran.tries["upload"]) == ("success", 2), ran.errors
    found = statuses.by_id()
    assert found.pop("bad") == ("quarantined", "p: value is missing")
    assert found == {f"t{number:05d}": ("stored", None) for number in range(30)}


# -- trouble -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [True, False])
def test_a_table_that_cannot_be_written_is_written_by_a_retry(
    server, statuses, tmp_path, monkeypatch, caplog, wait
):
    """The rows are in by then; the checkpoint stays, so the retry goes on after them."""
    point_to(monkeypatch, tmp_path / "gone" / "statuses.db")
    posts: list[int] = []

    def mend(context: Any) -> None:
        posts.append(len([item for item in server.exchanges if item.path.endswith("/data")]))
        errors.append(context["exception"])
        point_to(monkeypatch, statuses.path)

    errors: list[Exception] = []
    with new_dag(retries=1) as dag:
        DeepchecksLogBatchOperator(
            task_id="upload",
            data=make_rows(10),
            wait_for_ingestion=wait,
            checkpoint_path=str(tmp_path / "kept.json"),
            on_retry_callback=mend,
            **TABLE,
            **TARGET,
        )
    ran = run_dag(dag)
    assert (ran.states["upload"], ran.tries["upload"]) == ("success", 2)
    (error,) = errors
    assert isinstance(error, DeepchecksWriteBackError)
    for text in (
        "The rows were sent",
        f"status_table={NAME} on statuses",
        "unable to open",
        "rows that are in stay",
    ):
        assert text in str(error)
    assert "Going on after 10 rows sent by an earlier attempt" in caplog.text
    assert posts == [len([item for item in server.exchanges if item.path.endswith("/data")])]
    assert statuses.counts() == {"stored" if wait else "waiting": 10}


def test_a_table_of_something_else_is_found_before_a_row_is_sent(server, statuses):
    with closing(sqlite3.connect(statuses.path)) as database:
        database.execute(f"CREATE TABLE {NAME} (a INT)")
    ran = upload(make_rows(3), retries=2)
    assert (ran.states["upload"], ran.tries["upload"]) == ("failed", 1)
    (error,) = ran.errors["upload"]
    assert f"status_table={NAME} on statuses is a table of something else" in str(error)
    assert not [item for item in server.exchanges if item.path.endswith("/data")]


@DEFERRABLE
def test_the_end_cannot_be_written(server, statuses, monkeypatch, tmp_path, deferrable):
    receipt = upload(make_rows(10)).results["upload"]
    point_to(monkeypatch, tmp_path / "gone" / "statuses.db")
    errors: list[Exception] = []

    def mend(context: Any) -> None:
        errors.append(context["exception"])
        point_to(monkeypatch, statuses.path)

    with new_dag(poke_interval=0.3, timeout=30, retries=1, deferrable=deferrable) as dag:
        DeepchecksPendingRowsSensor(task_id="sensor", receipt=receipt, soft_fail=True, on_retry_callback=mend)
    ran = run_dag(dag)
    assert (ran.states["sensor"], ran.tries["sensor"]) == ("success", 2)
    assert isinstance(errors[0], DeepchecksWriteBackError)
    assert statuses.counts() == {"stored": 10}
    monkeypatch.delenv("AIRFLOW_CONN_STATUSES")
    ran = sense(receipt, deferrable=deferrable)
    assert isinstance(ran.errors["sensor"][0], DeepchecksMissingConnectionError)
    assert "status_conn_id='statuses'" in str(ran.errors["sensor"][0])


def test_a_refusal_is_told_even_if_it_cannot_be_written(queue_server, statuses, monkeypatch, tmp_path):
    receipt = upload(rows_refused(queue_server)).results["upload"]
    point_to(monkeypatch, tmp_path / "gone" / "statuses.db")
    (error,) = sense(receipt).errors["sensor"]
    assert isinstance(error, DeepchecksWriteBackError)
    assert "refused 4 rows" in str(error)
    assert "unable to open" in str(error)
    assert statuses.counts() == {"waiting": 20}


def test_a_server_that_goes_away_in_the_end_leaves_the_table_as_it_is(queue_server, statuses, monkeypatch):
    receipt = upload(rows_refused(queue_server)).results["upload"]

    def away(*_: Any) -> Any:
        raise DeepchecksServerError("gone")

    monkeypatch.setattr("airflow_provider_deepchecks.delivery.proof.statuses.refused_rows", away)
    (error,) = sense(receipt, max_refused=4).errors["sensor"]
    assert isinstance(error, DeepchecksWriteBackError)
    assert "on statuses: gone. Run the task again" in str(error)
    assert statuses.counts() == {"waiting": 20}


def test_without_a_table_nothing_is_collected(server, statuses, monkeypatch):
    def never(*_: Any) -> Any:
        raise AssertionError("collected for nothing")

    monkeypatch.setattr(batch_module, "SentIds", never)
    monkeypatch.setattr(batch_module, "SetAside", never)
    ran = upload(
        make_rows(3), status_table=None, status_conn_id=None, wait_for_ingestion=True, verify="counts"
    )
    assert ran.state == "success", ran.errors
    assert ran.results["upload"]["write_back"] is None
    assert not statuses.path.exists()


def test_a_dry_run_writes_no_table(server, statuses):
    assert upload(make_rows(3), dry_run=True).state == "success"
    assert not statuses.path.exists()


# -- other databases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["postgres", "mysql"])
def test_databases_of_the_warehouse(server, request, monkeypatch, database):
    """``sql_conn_id`` is taken where no other connection is named; the table is made."""
    service: Service = request.getfixturevalue(f"{database}_server")
    more = "?sslmode=disable" if database == "postgres" else "?charset=utf8mb4"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"{database}://{service.login}{more}")
    time = "timestamptz '2026-01-02 00:00:00+00'"
    if database == "mysql":
        time = "timestamp'2026-01-02 00:00:00'"
    name = f"statuses_{database}"
    with new_dag() as dag:
        DeepchecksLogBatchOperator(
            task_id="upload",
            sql=f"SELECT 'ä☃' AS id, {time} AS t, 1.5 AS p, 2.5 AS x",
            sql_conn_id="warehouse",
            timezone="UTC",
            status_table=name,
            wait_for_ingestion=True,
            **TARGET,
        )
    runs = [run_dag(dag, DAY + timedelta(days=number)) for number in range(2)]
    assert {ran.state for ran in runs} == {"success"}, runs[0].errors
    hook = BaseHook.get_connection("warehouse").get_hook()
    found = hook.get_records(f"SELECT id, status, reason, run FROM {name}")
    names = [f"{dag.dag_id}/upload/{ran.run_id}" for ran in runs]
    assert sorted(tuple(row) for row in found) == sorted(("ä☃", "stored", None, name) for name in names)
    hook.run(f"DROP TABLE {name}")
