# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows of SQLite, whose values have types of their own."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from airflow_provider_deepchecks.exceptions import DeepchecksColumnsError, DeepchecksSourceError
from airflow_provider_deepchecks.records.sources.source import open_query, open_table
from tests.records.sources.reading import Connect, query, table_of, types_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def sqlite(tmp_path: Path) -> Callable[..., Connect]:
    def make(*statements: str) -> Connect:
        path = tmp_path / "rows.db"
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
        return lambda: sqlite3.connect(path)

    return make


def test_sqlite_columns_get_one_type_for_all_their_values(sqlite: Callable[..., Connect]) -> None:
    connect = sqlite(
        "CREATE TABLE t (n, x, s, b, no, `odd``name`)",
        "INSERT INTO t WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 40000) "
        "SELECT i, NULL, NULL, NULL, NULL, i FROM c",
        "INSERT INTO t VALUES (1, 0.5, 'x', x'00', NULL, 1), (2, 3, NULL, NULL, NULL, 2)",
    )
    table = query(connect, "SELECT * FROM t WHERE n >= :least -- all\n;", {"least": 1}, dialect="sqlite")
    assert list(types_of(table).values()) == [
        pa.int64(),
        pa.float64(),
        pa.string(),
        pa.binary(),
        pa.null(),
        pa.int64(),
    ]
    assert table.num_rows == 40_002
    assert table.slice(40_000).to_pylist()[1] == {
        "n": 2, "x": 3.0, "s": None, "b": None, "no": None, "odd`name": 2,
    }  # fmt: skip


def test_sqlite_columns_of_mixed_values_are_told(sqlite: Callable[..., Connect]) -> None:
    connect = sqlite("CREATE TABLE t (a)", "INSERT INTO t VALUES (1), ('x')")
    with pytest.raises(DeepchecksSourceError, match="Column 'a' holds both integer and text values; CAST it"):
        query(connect, "SELECT * FROM t", dialect="sqlite")


def test_sqlite_is_read_only_and_ignores_row_factories(sqlite: Callable[..., Connect]) -> None:
    connect = sqlite("CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")

    def with_rows() -> Any:
        connection = connect()
        connection.row_factory = lambda cursor, row: {"a": "wrong"}
        return connection

    assert query(with_rows, "SELECT * FROM t", dialect="sqlite").to_pylist() == [{"a": 1}]
    with pytest.raises(DeepchecksSourceError, match="readonly database"):
        query(connect, "INSERT INTO t VALUES (2) RETURNING a", dialect="sqlite")


def test_sqlite_columns_named_twice_are_told(sqlite: Callable[..., Connect]) -> None:
    connect = sqlite("CREATE TABLE t (a)")
    with pytest.raises(DeepchecksColumnsError, match="more than one column named 'a'"):
        query(connect, "SELECT a, a FROM t", dialect="sqlite")


def test_sqlite_can_be_closed_by_another_thread(sqlite: Callable[..., Connect]) -> None:
    connect = sqlite("CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    reading: Any = open_query(connect, "SELECT * FROM t", dialect="sqlite").batches()
    read: list[Any] = []
    thread = threading.Thread(target=lambda: read.append(next(reading)))
    thread.start()
    thread.join()
    reading.close()
    assert [batch.to_pylist() for batch in read] == [[{"a": 1}]]


def test_tables_are_read_whole(sqlite: Callable[..., Connect]) -> None:
    connect = sqlite("CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2)")
    source = open_table(connect, "main.t", dialect="sqlite", name="shop")
    assert source.description == "table main.t on shop"
    assert table_of(source).to_pylist() == [{"a": 1}, {"a": 2}]
    for name in ("", "t; DROP TABLE t", "(SELECT 1)", "t --"):
        with pytest.raises(DeepchecksSourceError, match="no name of a table"):
            open_table(connect, name)
