# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Bad input: one clear error each, before anything is sent; retries only where they can help."""

from __future__ import annotations

import json
import socket
from datetime import UTC, date
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from airflow.providers.common.compat.sdk import AirflowFailException, task

from airflow_provider_deepchecks.exceptions import (
    DeepchecksConnectionError,
    DeepchecksMissingConnectionError,
    DeepchecksSourceError,
)
from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator
from tests.operators.conftest import LABELS, TARGET, make_rows
from tests.runs import new_dag, run_dag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.runs import Ran

ROWS = make_rows(3)
LABEL = [{"id": "a", "y": 1.0}]

#: What is wrong -> the arguments, and what the error has to say.
SETTINGS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no_source": ({}, ["data=", "sql=", "table=", "none is given"]),
    "two_sources": ({"data": ROWS, "sql": "SELECT 1", "sql_conn_id": "w"}, ["data and sql are given"]),
    "three_sources": (
        {"data": ROWS, "sql": "SELECT 1", "table": "t", "sql_conn_id": "w"},
        ["data and sql and table are given"],
    ),
    "sql_without_connection": ({"sql": "SELECT 1"}, ["sql= needs sql_conn_id="]),
    "table_without_connection": ({"table": "rows"}, ["table= needs sql_conn_id="]),
    "parameters_without_sql": (
        {"data": ROWS, "sql_parameters": {"a": 1}},
        ["sql_parameters= belongs to sql="],
    ),
    "empty_sql": ({"sql": "{{ '' }}", "sql_conn_id": "w"}, ["sql= is empty"]),
    "empty_path": ({"data": "{{ '' }}"}, ["data= is empty"]),
    "unknown_model": ({"data": ROWS, "model_name": "mm"}, ["no model 'mm'", "'m'"]),
    "unknown_version": ({"data": ROWS, "model_version": "v2"}, ["no version 'v2'", "'v1'"]),
    "empty_model": ({"data": ROWS, "model_name": "{{ '' }}"}, ["model_name= is empty"]),
    "empty_version": ({"data": ROWS, "model_version": "{{ '' }}"}, ["model_version= is empty"]),
    "missing_column": ({"data": [{**row, "x": None, "z": 1} for row in ROWS]}, ["'z'"]),
    "missing_id_column": ({"data": ROWS, "sample_id_column": "uuid"}, ["'uuid'"]),
    "no_sql_connection": ({"table": "rows", "sql_conn_id": "not_sql"}, ["sql_conn_id='not_sql'", "database"]),
    "unknown_type_of_connection": ({"table": "rows", "sql_conn_id": "strange"}, ["sql_conn_id='strange'"]),
    "no_status_connection": (
        {"data": ROWS, "status_table": "s"},
        ["status_table= needs status_conn_id="],
    ),
    "status_connection_without_table": (
        {"data": ROWS, "status_conn_id": "w"},
        ["status_conn_id= belongs to status_table="],
    ),
    "no_sql_status_connection": (
        {"data": ROWS, "status_table": "s", "status_conn_id": "not_sql"},
        ["status_conn_id='not_sql'", "database"],
    ),
    "sql_connection_for_statuses": (
        {"data": ROWS, "status_table": "s", "sql_conn_id": "strange"},
        ["sql_conn_id='strange'"],
    ),
    "no_name_of_a_status_table": (
        {"data": ROWS, "status_table": "s; DROP TABLE s", "status_conn_id": "w"},
        ["status_table='s; DROP TABLE s'"],
    ),
    "empty_status_table": (
        {"data": ROWS, "status_table": "{{ '' }}", "status_conn_id": "w"},
        ["status_table=''"],
    ),
    "quarantine_without_path": ({"data": ROWS, "on_invalid_rows": "quarantine"}, ["quarantine_path="]),
    "late_quarantine_without_path": ({"data": ROWS, "on_late_rows": "quarantine"}, ["quarantine_path="]),
    "bad_choice": ({"data": ROWS, "on_invalid_rows": "drop"}, ["on_invalid_rows='drop'", "'fail'"]),
    "bad_late_choice": ({"data": ROWS, "on_late_rows": "drop"}, ["on_late_rows='drop'", "'send'"]),
    "bad_verify": ({"data": ROWS, "verify": "all"}, ["verify is 'all'"]),
    "bad_share": ({"data": ROWS, "max_refused": 1.5}, ["max_refused is 1.5"]),
    "bad_limit": ({"data": ROWS, "max_invalid_rows": -1}, ["max_invalid_rows=-1"]),
    "limit_as_text": ({"data": ROWS, "max_refused": "{{ 'few' }}"}, ["max_refused is 'few'"]),
    "no_limit": ({"data": ROWS, "max_refused": None}, ["max_refused is None"]),
    "seconds_as_text": ({"data": ROWS, "lost_after": "300"}, ["lost_after='300'", "seconds"]),
    "endless": ({"data": ROWS, "wait_timeout": float("inf")}, ["wait_timeout=inf", "1,000,000,000"]),
    "mapping_as_text": (
        {"data": ROWS, "column_mapping": "{{ {'y': 'x'} }}"},
        ["column_mapping=", "dict", "native"],
    ),
    "zone_as_object": ({"data": ROWS, "timezone": UTC}, ["timezone=", "IANA name"]),
    "bad_timezone": ({"data": ROWS, "timezone": "Mars/Base"}, ["Mars/Base"]),
    "bad_unit": ({"data": ROWS, "timestamp_unit": "min"}, ["min"]),
    "bad_timeout": ({"data": ROWS, "send_timeout": 0}, ["send_timeout=0"]),
    "no_number": ({"data": ROWS, "send_timeout": "5"}, ["send_timeout='5'", "seconds"]),
    "no_number_of_rows": ({"data": ROWS, "samples_per_send": "5"}, ["samples_per_send='5'"]),
    "unknown_storage": ({"data": "zz://bucket/{{ ds }}.parquet"}, ["zz://bucket/2026-01-02", "zz://"]),
    "storage_not_installed": (
        {"data": "gs://bucket/rows.parquet"},
        ["cannot open gs://", "apache-airflow-providers-google"],
    ),
    "no_rows_at_all": ({"data": lambda: 5}, ["builtins.int", "give a frame"]),
    "frame_as_dicts": (
        {"data": {"id": {0: "a"}, "t": [1], "p": [1.0]}},
        ["Column 'id'", "to_dict()", "'list'"],
    ),
    "unknown_format": ({"data": "{{ params.unknown }}"}, ["rows.xlsx", "known are"]),
    "misspelt_time": (
        {"data": ROWS, "timestamp_column": "tt"},
        ["timestamp_column='tt': the source has no such column; it has 'id', 't', 'p', 'x'"],
    ),
    "two_statements": (
        {"sql": "SELECT 1; SELECT 2", "sql_conn_id": "w"},
        ["one SELECT", "2 statements"],
    ),
    "no_name_of_a_table": ({"table": "a; b", "sql_conn_id": "w"}, ["'a; b' is no name of a table"]),
    "several_queries": ({"sql": ["SELECT 1"], "sql_conn_id": "w"}, ["sql= is list: give text"]),
    "no_rows_a_request": ({"data": ROWS, "samples_per_send": 0}, ["samples_per_send=0"]),
    "ids_not_for_the_triggerer": (
        {"data": ROWS, "verify": "ids", "wait_for_ingestion": True, "deferrable": True},
        ["ids_path="],
    ),
    "no_id_column": ({"data": ROWS, "sample_id_column": None}, ["sample_id_column names None"]),
    "column_by_number": ({"data": ROWS, "timestamp_column": 1}, ["timestamp_column names 1", "text"]),
    "no_probabilities": ({"data": ROWS, "prediction_probas_columns": 5}, ["prediction_probas_columns=5"]),
    "probabilities_by_number": (
        {"data": ROWS, "prediction_probas_columns": [1, 2]},
        ["prediction_probas_columns names 1"],
    ),
    "mapping_to_nothing": (
        {"data": ROWS, "column_mapping": {"x": "xx"}},
        ["column_mapping renames to 'xx'", "it has 'x'"],
    ),
    "no_path": (
        {"data": ROWS, "on_invalid_rows": "quarantine", "quarantine_path": 5},
        ["quarantine_path= is int"],
    ),
    "no_name_of_a_connection": (
        {"data": ROWS, "status_table": "s", "status_conn_id": 5},
        ["status_conn_id= is int"],
    ),
    "no_path_of_a_checkpoint": ({"data": ROWS, "checkpoint_path": 5}, ["checkpoint_path= is int"]),
    "folder_for_bad_rows": (
        {
            "data": [*ROWS, {**ROWS[0], "id": None}],
            "on_invalid_rows": "quarantine",
            "quarantine_path": "{{ params.folder }}",
        },
        ["is a directory", "Check quarantine_path"],
    ),
    "folder_for_ids": ({"data": ROWS, "ids_path": "{{ params.folder }}"}, ["Check ids_path"]),
    "no_place_for_ids": ({"data": ROWS, "ids_path": "/proc/ids.parquet"}, ["/proc/ids.parquet", "ids_path"]),
    "no_connection": ({"data": ROWS, "deepchecks_conn_id": None}, ["deepchecks_conn_id=None"]),
    "types_mixed": (
        {"data": [*ROWS, {**ROWS[0], "x": "two"}]},
        ["Column 'x' mixes types (float, text)", "type text, the first of them 'two'"],
    ),
    "dicts_one_by_one": ({"data": lambda: iter(ROWS)}, ["dicts one by one", "list of dicts"]),
    "bad_rows": ({"data": [*ROWS, {**ROWS[0], "t": None}]}, ["1 cannot be sent", "row 3", "on_invalid_rows"]),
}
#: The same for what a retry may mend.
PASSING: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no_such_file": ({"data": "/nowhere/{{ ds }}.parquet"}, ["/nowhere/2026-01-02.parquet"]),
    "unreadable_file": ({"data": "{{ params.broken }}"}, ["broken.parquet"]),
    "failing_query": ({"sql": "SELECT * FROM nowhere", "sql_conn_id": "warehouse"}, ["warehouse", "nowhere"]),
    "failing_function": ({"data": lambda: 1 / 0}, ["ZeroDivisionError", "lambda"]),
    # Airflow says the same when what keeps its connections is away.
    "unknown_deepchecks_connection": (
        {"data": ROWS, "deepchecks_conn_id": "nowhere"},
        ["deepchecks_conn_id='nowhere'", "AIRFLOW_CONN_NOWHERE"],
    ),
    "unknown_sql_connection": (
        {"table": "rows", "sql_conn_id": "nowhere"},
        ["sql_conn_id='nowhere'", "AIRFLOW_CONN_NOWHERE"],
    ),
    "unknown_storage_connection": (
        {"data": "s3://bucket/key", "data_conn_id": "nowhere"},
        ["data_conn_id='nowhere'", "AIRFLOW_CONN_NOWHERE"],
    ),
    "unknown_status_connection": (
        {"data": ROWS, "status_table": "s", "status_conn_id": "nowhere"},
        ["status_conn_id='nowhere'", "AIRFLOW_CONN_NOWHERE"],
    ),
}


def run_each(tasks: Mapping[str, Mapping[str, Any]], **settings: Any) -> Ran:
    """Run an upload for each set of arguments."""
    with new_dag(retries=1, **settings) as dag:
        for name, arguments in tasks.items():
            DeepchecksLogBatchOperator(task_id=name, **{**TARGET, **arguments})
    return run_dag(dag)


@pytest.fixture
def connections(monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_CONN_W", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "w.db")}))
    monkeypatch.setenv(
        "AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "w.db")})
    )
    monkeypatch.setenv("AIRFLOW_CONN_NOT_SQL", json.dumps({"conn_type": "http", "host": "127.0.0.1"}))
    monkeypatch.setenv("AIRFLOW_CONN_STRANGE", json.dumps({"conn_type": "strange", "host": "127.0.0.1"}))


def uploads(server: Any) -> list[str]:
    return [item.path for item in server.exchanges if item.method in ("POST", "PUT") and "/data" in item.path]


def test_wrong_settings_and_rows_fail_at_once(server, connections, tmp_path):
    unknown = tmp_path / "rows.xlsx"
    unknown.write_bytes(b"PK")
    ran = run_each(
        {name: arguments for name, (arguments, _) in SETTINGS.items()},
        params={"unknown": str(unknown), "folder": str(tmp_path)},
    )
    before = len(uploads(server))
    for name, (_, told) in SETTINGS.items():
        assert (ran.states[name], ran.tries[name]) == ("failed", 1), name
        (error,) = ran.errors[name]
        assert isinstance(error, AirflowFailException), name
        for text in told:
            assert text in str(error), f"{name}: {error}"
    assert before == 0
    assert server.stored("m", "v1") == {}


def test_what_may_pass_is_tried_again(server, connections, tmp_path):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 is how it begins")
    ran = run_each(
        {name: arguments for name, (arguments, _) in PASSING.items()}, params={"broken": str(broken)}
    )
    for name, (_, told) in PASSING.items():
        assert (ran.states[name], ran.tries[name]) == ("failed", 2), name
        first, second = ran.errors[name]
        assert isinstance(first, DeepchecksSourceError | DeepchecksMissingConnectionError), name
        assert str(first) == str(second)
        for text in told:
            assert text in str(first), f"{name}: {first}"
    assert uploads(server) == []


def test_output_that_is_none(server):
    with new_dag(retries=1) as dag:

        @task
        def nothing() -> None:
            return None

        DeepchecksLogBatchOperator(task_id="upload", data=nothing(), **TARGET)
    ran = run_dag(dag)
    assert (ran.states["upload"], ran.tries["upload"]) == ("failed", 1)
    assert "the task whose output it is returned None" in str(ran.errors["upload"][0])


def test_wrong_token(server, monkeypatch):
    connection = {**json.loads(server.connection_json), "password": "ZGVtb0BleGFtcGxlLmNvbQ==.mistaken"}
    monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", json.dumps(connection))
    ran = run_each({"upload": {"data": ROWS}})
    assert ran.tries == {"upload": 1}
    assert "token" in str(ran.errors["upload"][0]).lower()
    assert "mistaken" not in str(ran.errors["upload"][0])


def test_host_down(server, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    connection = {
        **json.loads(server.connection_json),
        "host": f"http://127.0.0.1:{port}",
        "extra": {"retries": 0},
    }
    monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", json.dumps(connection))
    ran = run_each({"upload": {"data": ROWS}})
    assert ran.tries == {"upload": 2}
    assert isinstance(ran.errors["upload"][0], DeepchecksConnectionError)
    assert f"127.0.0.1:{port}" in str(ran.errors["upload"][0])


def test_certificate_that_cannot_be_verified(server, monkeypatch):
    import ssl
    import threading

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    connection = {
        **json.loads(server.connection_json),
        "host": f"https://127.0.0.1:{listener.getsockname()[1]}",
    }
    monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", json.dumps(connection))
    try:
        ran = run_each({"upload": {"data": ROWS}})
    finally:
        listener.close()
    assert ran.tries == {"upload": 1}
    assert isinstance(ran.errors["upload"][0], AirflowFailException)
    assert "certificate" in str(ran.errors["upload"][0]).lower()


def test_labels_operator_checks_alike(server):
    tasks: dict[str, tuple[dict[str, Any], str]] = {
        "no_source": ({}, "none is given"),
        "unknown_version": ({"data": [], "model_version": "v2"}, "'v1'"),
        "missing_column": ({"data": [{"id": "a"}]}, "'y'"),
        "bad_window": ({"data": LABEL, "window_start": "tomorrow"}, "window_start='tomorrow'"),
        "date": ({"data": LABEL, "window_start": date(2026, 1, 2)}, "window_start=datetime.date(2026, 1, 2)"),
        "epoch": ({"data": LABEL, "window_end": 1767225600}, "window_end=1767225600 is int"),
        "no_rows_a_request": ({"data": [{"id": "a", "y": 1.0}], "labels_per_send": 0}, "labels_per_send=0"),
        "wrong_type": ({"data": [{"id": "a", "y": "late"}]}, "'y' is string"),
        "no_label": ({"data": [*LABEL, {"id": "b", "y": None}]}, "1 cannot be sent"),
    }
    with new_dag(retries=1) as dag:
        for name, (arguments, _) in tasks.items():
            DeepchecksLogLabelsOperator(task_id=name, **{**LABELS, **arguments})
    ran = run_dag(dag)
    for name, (_, told) in tasks.items():
        assert (ran.states[name], ran.tries[name]) == ("failed", 1), name
        assert told in str(ran.errors[name][0]), f"{name}: {ran.errors[name]}"
    assert server.labels("m") == {}
