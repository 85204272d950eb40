# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows stay out of Airflow's metadata database, and so does the token."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from airflow.providers.common.compat.sdk import task

from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor
from tests.operators.conftest import TARGET, make_rows
from tests.runs import new_dag, run_dag

#: Stands in each row, and may stand in no table.
SECRET = "salary-of-jane-8675309"


def tables_with(database: Path, text: str) -> set[str]:
    """The tables of a SQLite database that hold a text anywhere."""
    found = set()
    with sqlite3.connect(database) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for name in names:
            for row in connection.execute(f'SELECT * FROM "{name}"'):
                if any(text.encode() in _bytes(value) for value in row):
                    found.add(name)
    return found


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def test_rows_and_token_are_nowhere_in_the_metadata(deepchecks_server, fresh_airflow_db, tmp_path):
    deepchecks_server.create_model(
        "m", "regression", features={"x": "numeric"}, additional_data={"note": "text"}
    )
    rows = make_rows(3, note=SECRET)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    without_version = {key: value for key, value in TARGET.items() if key != "model_version"}
    with new_dag() as dag:

        @task
        def place() -> str:
            return str(path)

        @task
        def places() -> list[str]:
            return [str(path), str(path)]

        frame, table = pd.DataFrame(rows), pa.Table.from_pylist(rows)
        sources: dict[str, Any] = {
            "frame": frame,
            "table": table,
            "dicts": rows,
            "columns": table.to_pydict(),
            "function": lambda: frame,
            "path": place(),
        }
        uploads = [
            DeepchecksLogBatchOperator(task_id=name, data=data, wait_for_ingestion=True, **TARGET)
            for name, data in sources.items()
        ]
        DeepchecksLogBatchOperator.partial(task_id="mapped_data", **TARGET).expand(data=places())
        DeepchecksLogBatchOperator.partial(task_id="mapped_version", data=place(), **without_version).expand(
            model_version=["v1", "v1"]
        )
        DeepchecksLogBatchOperator.partial(
            task_id="mapped_function", data=lambda: frame, **without_version
        ).expand(model_version=["v1"])
        DeepchecksPendingRowsSensor(task_id="wait", receipt=uploads[0].output, deferrable=True)
        DeepchecksLogBatchOperator(task_id="bad", data=[{**rows[0], "t": None}], **TARGET)
    ran = run_dag(dag)
    assert ran.states.pop("bad") == "failed"
    assert set(ran.states.values()) == {"success"}, ran.errors
    assert {name: ran.rendered[name]["data"] for name in sources} == {
        "frame": "<pandas.DataFrame: 3 rows, 5 columns>",
        "table": "<pyarrow.Table: 3 rows, 5 columns>",
        "dicts": "<list: 3 rows>",
        "columns": "<dict>",
        "function": "<function: test_rows_and_token_are_nowhere_in_the_metadata.<locals>.<lambda>>",
        "path": str(path),
    }
    assert ran.rendered["mapped_data[1]"]["data"] == str(path)
    assert ran.rendered["mapped_version[0]"]["data"] == str(path)
    assert "lambda" in ran.rendered["mapped_function[0]"]["data"]
    from airflow import settings

    settings.engine.dispose()
    assert tables_with(fresh_airflow_db, "s00001") == set()
    assert tables_with(fresh_airflow_db, SECRET) == set()
    secret = deepchecks_server.token.partition(".")[2]
    assert tables_with(fresh_airflow_db, secret) == set()
    assert tables_with(fresh_airflow_db, "dashboard?modelId=") == {"xcom"}  # the search does find
    for root, _, names in os.walk(fresh_airflow_db.parent / "logs"):
        for name in names:
            text = (Path(root) / name).read_text(errors="replace")
            assert SECRET not in text
            assert secret not in text


def test_receipt_is_small(server):
    with new_dag() as dag:
        DeepchecksLogBatchOperator(
            task_id="upload", data=make_rows(50, prefix="i" * 1500), wait_for_ingestion=True, **TARGET
        )
    ran = run_dag(dag)
    assert ran.state == "success"
    assert len(str(ran.results["upload"])) < 4096
