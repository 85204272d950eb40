# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Every kind of source, through real task runs."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import psycopg2
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath, task

from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator
from airflow_provider_deepchecks.sensors.label_coverage import DeepchecksLabelCoverageSensor
from tests.operators.conftest import LABELS, TARGET, make_rows
from tests.runs import DAY, new_dag, run_dag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from airflow_provider_deepchecks.local_server.server import LocalServer
    from tests.services import ObjectStore, Service

ROWS = make_rows(3)
IDS = {row["id"] for row in ROWS}


def upload_each(server: LocalServer, sources: Mapping[str, Mapping[str, Any]]) -> None:
    """Upload the same rows from each source by a task of its own: each but the first finds them stored."""
    with new_dag() as dag:
        last: Any = None
        for name, arguments in sources.items():
            upload = DeepchecksLogBatchOperator(task_id=name, **TARGET, **arguments)
            last >> upload if last is not None else None
            last = upload
    ran = run_dag(dag)
    assert {name: ran.states[name] for name in sources} == dict.fromkeys(sources, "success"), ran.errors
    for name in sources:
        assert ran.results[name]["read"] == 3, name
    assert sum(ran.results[name]["sent"] for name in sources) == 3
    assert sum(ran.results[name]["already_stored"] for name in sources) == 3 * (len(sources) - 1)
    assert server.stored("m", "v1").keys() == IDS


def from_context(ds: str, params: Any) -> list[dict[str, Any]]:
    """A callable that asks for parts of the context."""
    assert ds == f"{DAY:%Y-%m-%d}"
    return ROWS


class Table:
    """Anything with ``__arrow_c_stream__``."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.Table.from_pylist(ROWS).__arrow_c_stream__()


def test_rows_in_memory(server):
    table = pa.Table.from_pylist(ROWS)
    frame = pd.DataFrame(ROWS)
    upload_each(
        server,
        {
            "pandas": {"data": frame},
            "polars": {"data": pl.DataFrame(ROWS)},
            "arrow": {"data": table},
            "capsule": {"data": Table()},
            "dicts": {"data": ROWS},
            "columns": {"data": table.to_pydict()},
            "function": {"data": lambda: table},
            "function_with_context": {"data": from_context},
            "function_gives_reader": {"data": lambda **context: table.to_reader()},
            "function_gives_batches": {"data": lambda: iter(table.to_batches())},
        },
    )


def test_output_of_tasks(server, tmp_path):
    path = str(tmp_path / "rows.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    with new_dag() as dag:

        @task
        def dicts() -> list[dict[str, Any]]:
            return ROWS

        @task
        def place() -> str:
            return path

        @task
        def parts() -> list[str]:
            return [path]

        @task
        def numbers() -> list[int]:
            return [0, 1, 2]

        @task
        def part(number: int) -> str:
            name = str(tmp_path / f"part{number}.parquet")
            pq.write_table(pa.Table.from_pylist(ROWS[number : number + 1]), name)
            return name

        sources = {
            "dicts": dicts(),
            "place": place(),
            "parts": parts(),
            "mapped": part.expand(number=numbers()),
        }
        sources["list_of_outputs"] = [sources["place"]]

        @task
        def column(name: str) -> list[Any]:
            return [row[name] for row in ROWS]

        sources["columns"] = {name: column(name) for name in ROWS[0]}
        for name, data in sources.items():
            DeepchecksLogBatchOperator(task_id=f"upload_{name}", data=data, **TARGET)
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    assert {ran.results[f"upload_{name}"]["read"] for name in sources} == {3}
    assert server.stored("m", "v1").keys() == IDS


def test_frames_of_tasks(server, monkeypatch):
    """Frames travel by XCom where Airflow can serialise them: 2.11 by pickling only."""
    monkeypatch.setenv("AIRFLOW__CORE__ENABLE_XCOM_PICKLING", "True")
    with new_dag() as dag:

        @task
        def pandas() -> pd.DataFrame:
            return pd.DataFrame(ROWS)

        DeepchecksLogBatchOperator(task_id="upload", data=pandas(), **TARGET)
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    assert server.stored("m", "v1").keys() == IDS


def test_files(server, tmp_path):
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "all.parquet")
    for number in range(3):
        pq.write_table(table.slice(number, 1), tmp_path / f"part-{number}.parquet")
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    pd.DataFrame(ROWS).to_csv(tmp_path / "rows.csv", index=False)
    pa.feather.write_feather(table, tmp_path / "rows.arrow", compression="uncompressed")
    pq.write_table(table, tmp_path / f"{DAY:%Y-%m-%d}.parquet")
    upload_each(
        server,
        {
            "path": {"data": tmp_path / "all.parquet"},
            "text": {"data": str(tmp_path / "all.parquet")},
            "template": {"data": f"{tmp_path}/{{{{ ds }}}}.parquet"},
            "glob": {"data": f"{tmp_path}/part-*.parquet"},
            "list": {"data": [f"{tmp_path}/part-{number}.parquet" for number in range(3)]},
            "uri": {"data": f"file://{tmp_path}/all.parquet"},
            "uri_glob": {"data": f"file://{tmp_path}/part-*.parquet"},
            "object_storage_path": {"data": ObjectStoragePath(f"file://{tmp_path}/all.parquet")},
            "function_gives_path": {"data": lambda: str(tmp_path / "all.parquet")},
            "csv": {"data": tmp_path / "rows.csv"},
            "json_lines": {"data": tmp_path / "rows.jsonl"},
            "arrow": {"data": tmp_path / "rows.arrow"},
        },
    )


def test_object_storage_with_a_connection(server, object_store: ObjectStore, monkeypatch):
    import fsspec

    storage = fsspec.filesystem("s3", **object_store.storage_options)
    for number in range(3):
        with storage.open(f"{object_store.bucket}/day/part-{number}.parquet", "wb") as file:
            pq.write_table(pa.Table.from_pylist(ROWS[number : number + 1]), file)
    connection = {
        "conn_type": "aws",
        "login": "testing",
        "password": "testing",
        "extra": {"endpoint_url": object_store.endpoint, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(connection))
    bucket = object_store.bucket
    upload_each(
        server,
        {
            "glob": {"data": f"s3://{bucket}/day/part-*.parquet", "data_conn_id": "store"},
            "connection_in_uri": {"data": f"s3://store@{bucket}/day/part-*.parquet"},
            "list": {
                "data": [f"s3://{bucket}/day/part-{number}.parquet" for number in range(3)],
                "data_conn_id": "store",
            },
            "object_storage_path": {
                "data": [
                    ObjectStoragePath(f"s3://{bucket}/day/part-{number}.parquet", conn_id="store")
                    for number in range(3)
                ]
            },
        },
    )


def test_files_of_a_task_on_object_storage(server, object_store: ObjectStore, monkeypatch):
    """Quarantine, ids and checkpoint reach the storage by the connection too."""
    connection = {
        "conn_type": "aws",
        "login": "testing",
        "password": "testing",
        "extra": {"endpoint_url": object_store.endpoint, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(connection))
    base = f"s3://store@{object_store.bucket}/kept"
    with new_dag() as dag:
        DeepchecksLogBatchOperator(
            task_id="upload",
            data=[*ROWS, {**ROWS[0], "id": None}],
            on_invalid_rows="quarantine",
            quarantine_path=f"{base}/bad-{{{{ ds }}}}.parquet",
            ids_path=f"{base}/ids.parquet",
            checkpoint_path=f"{base}/checkpoint.json",
            wait_for_ingestion=True,
            verify="ids",
            deferrable=True,
            **TARGET,
        )
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    receipt = ran.results["upload"]
    assert (receipt["read"], receipt["stored"], receipt["quarantined"]) == (4, 3, 1)
    import fsspec

    storage = fsspec.filesystem("s3", **object_store.storage_options)
    kept = {name.rpartition("/")[2] for name in storage.ls(f"{object_store.bucket}/kept", refresh=True)}
    assert kept == {f"bad-{DAY:%Y-%m-%d}.parquet", "ids.parquet"}  # the checkpoint is removed in the end


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SQLite with the rows of two days."""
    path = tmp_path / "warehouse.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE predictions (id TEXT, t TEXT, p REAL, x REAL)")
        yesterday = [{**row, "id": "old", "t": (DAY - timedelta(days=1)).isoformat()} for row in ROWS[:1]]
        database.executemany("INSERT INTO predictions VALUES (:id, :t, :p, :x)", ROWS + yesterday)
        database.execute("CREATE VIEW today AS SELECT * FROM predictions WHERE id != 'old'")
    connection = {"conn_type": "sqlite", "host": str(path)}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    return path


def test_sql(server, warehouse: Path, tmp_path: Path):
    (tmp_path / "rows.sql").write_text(
        "-- the rows of {{ ds }}\nSELECT * FROM {{ params.source }} WHERE t >= :day;\n"
    )
    day = {"day": "{{ data_interval_start.isoformat() }}"}
    with new_dag(sql_conn_id="warehouse", params={"source": "predictions"}) as dag:
        dag.template_searchpath = [str(tmp_path)]
        sources: dict[str, dict[str, Any]] = {
            "inline": {"sql": "SELECT * FROM predictions WHERE t >= :day", "sql_parameters": day},
            "positional": {
                "sql": "SELECT * FROM predictions WHERE t >= ?",
                "sql_parameters": ["{{ data_interval_start.isoformat() }}"],
            },
            "file": {"sql": "rows.sql", "sql_parameters": day},
            "view": {"table": "{{ 'today' }}"},
        }
        for name, arguments in sources.items():
            DeepchecksLogBatchOperator(task_id=name, **TARGET, **arguments)
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    assert {ran.results[name]["read"] for name in sources} == {3}
    assert server.stored("m", "v1").keys() == IDS
    assert f"the rows of {DAY:%Y-%m-%d}" in ran.rendered["file"]["sql"]


def test_postgres(server, postgres_server: Service, monkeypatch):
    """From PostgreSQL to proven rows; the warehouse orders them."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"postgres://{postgres_server.login}?sslmode=disable")
    database = psycopg2.connect(
        host=postgres_server.host,
        port=postgres_server.port,
        user=postgres_server.user,
        password=postgres_server.password,
        dbname=postgres_server.database,
    )
    with database, database.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS operator_rows")
        cursor.execute(
            "CREATE TABLE operator_rows AS SELECT 's' || n AS id, timestamptz '2026-01-02 00:00:00+00' "
            "+ (5000 - n) * interval '1 second' AS t, n::numeric(10, 2) AS p, n / 2.0 AS x "
            "FROM generate_series(1, 5000) AS n"
        )
    database.close()
    with new_dag() as dag:
        DeepchecksLogBatchOperator(
            task_id="upload",
            sql="SELECT * FROM operator_rows WHERE p <= %(most)s",
            sql_parameters={"most": 4000},
            sql_conn_id="warehouse",
            samples_per_send=1000,
            wait_for_ingestion=True,
            **TARGET,
        )
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    receipt = ran.results["upload"]
    assert (receipt["read"], receipt["stored"], receipt["waiting"]) == (4000, 4000, 0)
    stored = server.stored("m", "v1")
    assert stored["s4000"]["_dc_prediction"] == 4000
    sent = [row["_dc_time"] for row in stored.values()]
    assert sent == sorted(sent)


def test_sample_ids_and_columns_are_templates(server):
    with new_dag(params={"id": "id", "time": "t"}) as dag:
        DeepchecksLogBatchOperator(
            task_id="upload",
            data=[{"id": row["id"], "t": row["t"], "p": row["p"], "feature": row["x"]} for row in ROWS],
            **TARGET
            | {
                "model_name": "{{ 'm' }}",
                "sample_id_column": "{{ params.id }}",
                "timestamp_column": "{{ params.time }}",
            },
            column_mapping={"feature": "{{ 'x' }}"},
        )
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    assert server.stored("m", "v1")["s00002"]["x"] == 1


def test_settings_that_render_empty_are_not_given(server, tmp_path, monkeypatch):
    """As of a parameter that a run may leave empty."""
    monkeypatch.chdir(tmp_path)
    paths, connections = ("ids_path", "quarantine_path", "checkpoint_path"), ("data", "status", "sql")
    settings = (*paths, *(f"{name}_conn_id" for name in connections))
    empty = dict.fromkeys(settings, "{{ params.none }}")
    with new_dag(params={"none": ""}) as dag:
        DeepchecksLogBatchOperator(task_id="upload", data=ROWS, **empty, **TARGET)
        labels = DeepchecksLogLabelsOperator(
            task_id="labels", data=[{"id": "s00000", "y": 1.0}], model_version="{{ params.none }}", **LABELS
        )
        sensor = DeepchecksLabelCoverageSensor(
            task_id="sensor", model_name="m", model_version="{{ params.none }}", ratio=0.1
        )
        dag.get_task("upload") >> labels >> sensor
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    receipt = ran.results["upload"]
    assert (receipt["ids_path"], receipt["quarantine_path"], receipt["errors_path"]) == (None, None, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("native", [True, False])
def test_rules_for_rows_are_templates(server, tmp_path, native):
    """A run by hand may let go what the nightly one may not."""
    rules = {"invalid": "quarantine", "late": "send", "most": 1}
    with new_dag(params=rules) as dag:
        dag.render_template_as_native_obj = native
        DeepchecksLogBatchOperator(task_id="upload", data=make_rows(1, prefix="later", first=60), **TARGET)
        rerun = DeepchecksLogBatchOperator(
            task_id="rerun",
            data=[*ROWS, {**ROWS[0], "id": "bad", "t": None}],
            on_invalid_rows="{{ params.invalid }}",
            on_late_rows="{{ params.late }}",
            max_invalid_rows="{{ params.most }}",
            max_refused="{{ params.most }}",
            quarantine_path=str(tmp_path / "bad.parquet"),
            wait_for_ingestion=True,
            **TARGET,
        )
        dag.get_task("upload") >> rerun
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    assert (ran.results["rerun"]["stored"], ran.results["rerun"]["quarantined"]) == (3, 1)


def unstable() -> Callable[[], Any]:
    """A function that fails at its first call."""
    calls = []

    def rows() -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the feature store is away")
        return ROWS

    return rows


def test_function_that_fails_is_retried(server):
    with new_dag(retries=1) as dag:
        DeepchecksLogBatchOperator(task_id="upload", data=unstable(), **TARGET)
    ran = run_dag(dag)
    assert ran.states == {"upload": "success"}
    assert ran.tries == {"upload": 2}
    assert "the feature store is away" in str(ran.errors["upload"][0])


def test_function_may_skip_its_task(server):
    from airflow.providers.common.compat.sdk import AirflowSkipException

    def nothing_today() -> Any:
        raise AirflowSkipException("a holiday")

    with new_dag() as dag:
        DeepchecksLogBatchOperator(task_id="upload", data=nothing_today, **TARGET)
    assert run_dag(dag).states == {"upload": "skipped"}
    assert server.stored("m", "v1") == {}
