# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows of drivers that give Arrow, and of any other one."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.sources.source import open_query
from tests.records.sources.reading import ANY_DECIMAL, NOON, query, table_of, types_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services import Service


# -- DuckDB --------------------------------------------------------------------------------------------------


def test_duckdb_gives_arrow_in_order(tmp_path: Path) -> None:
    path = str(tmp_path / "rows.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT 'id-' || i AS id, "
            "TIMESTAMPTZ '2026-01-01' + (i % 7) * INTERVAL 1 SECOND AS ts, i::DECIMAL(10,2) AS d, "
            "uuid() AS u, [i, 0.5] AS l, '{}'::JSON AS j, 'x'::BLOB AS b FROM range(50000) t(i)"
        )

    def connect() -> Any:
        return duckdb.connect(path, read_only=True)

    source = open_query(
        connect,
        "SELECT * FROM t WHERE ts >= $1;",
        [NOON - dt.timedelta(days=9)],
        dialect="duckdb",
        order_by=["ts", "id"],
    )
    assert source.ordered
    table = table_of(source)
    kinds = types_of(table)
    assert (kinds["d"], kinds["u"], kinds["b"]) == (pa.decimal128(10, 2), pa.string(), pa.binary())
    assert kinds["ts"].tz is not None
    assert table.num_rows == 50_000
    keys = list(zip(table["ts"].to_pylist(), table["id"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    with pytest.raises(DeepchecksSourceError, match="Table with name nowhere does not exist"):
        query(connect, "SELECT * FROM nowhere", dialect="duckdb")


# -- ADBC ----------------------------------------------------------------------------------------------------


def test_adbc_gives_arrow(postgres_server: Service) -> None:
    from adbc_driver_postgresql import dbapi

    def connect() -> Any:
        return dbapi.connect(f"postgresql://{postgres_server.login}")

    sql = "SELECT i AS a, i * 0.5 AS x, now() AS at FROM generate_series(1, 3000) i"
    source = open_query(connect, sql, dialect="postgresql", order_by=["at", "a"])
    assert source.ordered
    table = table_of(source)
    assert table.num_rows == 3000
    assert types_of(table) == {"a": pa.int64(), "x": ANY_DECIMAL, "at": pa.timestamp("us", "UTC")}
    assert sum(table["x"].to_pylist()) == Decimal("2250750")


# -- drivers that cannot run here ----------------------------------------------------------------------------


class FakeCursor:
    """A DB-API cursor over rows in memory, as a driver without anything special has it."""

    arraysize = 1

    def __init__(self, rows: list[Any], description: list[tuple[Any, ...]]) -> None:
        self.rows = list(rows)
        self.description = description
        self.executed: list[Any] = []
        self.closed = False

    def execute(self, *sql: Any) -> None:
        self.executed.append(sql)

    def fetchmany(self, size: int) -> list[Any]:
        taken, self.rows = self.rows[:size], self.rows[size:]
        return taken

    def close(self) -> None:
        self.closed = True


class FakeConnection:
    """A connection of a driver that nothing is known about."""

    def __init__(self, cursor: Any) -> None:
        self.the_cursor = cursor
        self.closed = False

    def cursor(self) -> Any:
        return self.the_cursor

    def close(self) -> None:
        self.closed = True


def described(**columns: Any) -> list[tuple[Any, ...]]:
    return [(name, None, None, None, *(kind or (None, None)), None) for name, kind in columns.items()]


def fake(rows: list[Any], **columns: Any) -> tuple[FakeConnection, FakeCursor]:
    cursor = FakeCursor(rows, described(**columns))
    return FakeConnection(cursor), cursor


def test_any_driver_is_read_by_fetchmany() -> None:
    rows = [(i, None if i < 600 else "x", Decimal("1.50"), i / 2) for i in range(5000)]
    connection, cursor = fake(rows, a=None, s=None, d=(10, 2), x=None)
    table = query(lambda: connection, "SELECT 1; ", (5,), dialect="mssql", batch_rows=900)
    assert list(types_of(table).values()) == [pa.int64(), pa.string(), pa.decimal128(10, 2), pa.float64()]
    assert table["a"].to_pylist() == list(range(5000))
    assert cursor.executed == [("SELECT 1", (5,))]
    assert cursor.arraysize == 900
    assert cursor.closed
    assert connection.closed


def test_rows_that_are_dicts_are_taken_by_value() -> None:
    connection, _ = fake([{"a": 1, "b": "x"}, {"a": 2, "b": None}], a=None, b=None)
    assert query(lambda: connection, "SELECT 1").to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]


def test_a_fraction_after_whole_numbers_is_no_whole_number() -> None:
    rows: list[Any] = [(1,)] * 2000 + [(2.5,)]
    connection, _ = fake(rows, a=None)
    assert query(lambda: connection, "SELECT 1")["a"].to_pylist()[-2:] == [1, 2.5]
    # Oracle says so by the scale: 0 is whole, -127 a float.
    connection, _ = fake(rows, a=(0, -127))
    assert query(lambda: connection, "SELECT 1")["a"].to_pylist()[-1] == 2.5


@pytest.mark.parametrize("value", ["x", 5, 2.5, True, NOON])
def test_a_column_that_begins_empty_may_become_anything(value: Any) -> None:
    connection, _ = fake([(None,)] * 40_000 + [(value,), (None,)], a=None)
    assert query(lambda: connection, "SELECT 1")["a"].to_pylist()[-2:] == [value, None]


def test_a_column_that_begins_to_mean_something_else_is_told() -> None:
    connection, _ = fake([(None,)] * 512 + [(5,)] * 4096 + [("x",)], a=None)
    with pytest.raises(DeepchecksSourceError, match=r"'a', rows from .* is string where it was int64 before"):
        query(lambda: connection, "SELECT 1")


def test_an_empty_result_of_any_driver_tells_its_columns_and_no_types() -> None:
    connection, _ = fake([], a=None, d=(10, 2))
    assert types_of(query(lambda: connection, "SELECT 1")) == {"a": pa.null(), "d": pa.null()}


def test_an_empty_column_does_not_hold_rows_back() -> None:
    """The types of the other columns are known from the first rows, so nothing is collected for this one."""
    connection, cursor = fake([("x" * 20_000, None)] * 5000, a=None, b=None)
    reading = iter(open_query(lambda: connection, "SELECT 1").batches())
    assert next(reading).num_rows == 512
    assert len(cursor.rows) == 5000 - 512


def test_large_rows_are_fetched_few_at_a_time() -> None:
    connection, _ = fake([("x" * 100_000,)] * 1500, a=None)
    sizes = [batch.num_rows for batch in open_query(lambda: connection, "SELECT 1").batches()]
    assert sum(sizes) == 1500
    assert max(sizes[len(sizes) // 2 :]) < 50


def test_a_statement_without_rows_is_no_query() -> None:
    cursor = FakeCursor([], [])
    cursor.description = None  # type: ignore[assignment]
    with pytest.raises(DeepchecksSourceError, match="gives no rows; it must be a SELECT"):
        query(lambda: FakeConnection(cursor), "UPDATE t SET a = 1")


def test_snowflake_hands_out_tables_whose_integers_vary_in_width() -> None:
    class Snowflake(FakeCursor):
        def fetch_arrow_batches(self) -> Iterator[pa.Table]:
            yield pa.table(
                {"A": pa.array([1, 2], pa.int8()), "D": pa.array([Decimal("1.5")] * 2, pa.decimal128(38, 2))}
            )
            yield pa.table({"A": pa.array([70_000], pa.int32()), "D": pa.array([None], pa.decimal128(38, 2))})

    cursor = Snowflake([], described(A=None, D=None))
    table = query(lambda: FakeConnection(cursor), "SELECT 1", dialect="snowflake")
    assert types_of(table) == {"A": pa.int64(), "D": pa.decimal128(38, 2)}
    assert table["A"].to_pylist() == [1, 2, 70_000]
    assert cursor.closed


def test_snowflake_without_rows_still_tells_its_columns() -> None:
    class Snowflake(FakeCursor):
        def fetch_arrow_batches(self) -> Iterator[pa.Table]:
            return iter([])

    table = query(lambda: FakeConnection(Snowflake([], described(A=None))), "SELECT 1")
    assert (table.num_rows, table.column_names) == (0, ["A"])


def test_arrow_that_changes_its_type_is_told() -> None:
    class Snowflake(FakeCursor):
        def fetch_arrow_batches(self) -> Iterator[pa.Table]:
            yield pa.table({"A": [1]})
            yield pa.table({"A": ["x"]})

    with pytest.raises(
        DeepchecksSourceError, match="Column 'A' is string in batch 1 and int64 before; CAST it"
    ):
        query(lambda: FakeConnection(Snowflake([], described(A=None))), "SELECT 1")


@pytest.mark.parametrize("count", [0, 5])
def test_databricks_hands_out_tables_until_one_is_empty(count: int) -> None:
    class Databricks(FakeCursor):
        def fetchmany_arrow(self, size: int) -> pa.Table:
            return pa.table({"a": pa.array(self.fetchmany(size), pa.int64())})

    cursor = Databricks(list(range(count)), described(a=None))
    table = query(lambda: FakeConnection(cursor), "SELECT 1", dialect="databricks", batch_rows=2)
    assert table["a"].to_pylist() == list(range(count))


class BigQueryJob:
    """What ``google.cloud.bigquery`` calls a QueryJob."""

    def result(self) -> BigQueryJob:
        return self

    def to_arrow_iterable(self) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([{"a": NOON}])
        yield pa.RecordBatch.from_pylist([{"a": None}])


def test_bigquery_streams_from_its_job() -> None:
    class BigQuery(FakeCursor):
        query_job = BigQueryJob()

    cursor = BigQuery([], described(a=None))
    assert query(lambda: FakeConnection(cursor), "SELECT 1", dialect="bigquery")["a"].to_pylist() == [
        NOON,
        None,
    ]


def test_the_bigquery_cursor_of_airflow_is_read_through_its_hook() -> None:
    asked: list[dict[str, Any]] = []

    class Hook:
        def get_job(self, **which: Any) -> BigQueryJob:
            asked.append(which)
            return BigQueryJob()

    class BigQueryCursor(FakeCursor):
        job_id: str | None = None
        location: str | None = None
        project_id = "p"
        hook = Hook()

        def execute(self, *sql: Any) -> None:
            self.job_id, self.location = "job", "EU"

    cursor = BigQueryCursor([[NOON.timestamp()]], described(a=None))
    assert query(lambda: FakeConnection(cursor), "SELECT 1", dialect="bigquery")["a"].to_pylist() == [
        NOON,
        None,
    ]
    assert asked == [{"job_id": "job", "project_id": "p", "location": "EU"}]


@pytest.mark.parametrize("late", [False, True], ids=["at the call", "at the first table"])
def test_snowflake_is_read_by_fetchmany_where_its_result_is_json(late: bool) -> None:
    class NotSupportedError(Exception):
        pass

    class Snowflake(FakeCursor):
        error: Exception = NotSupportedError("Result set is not in Arrow format")

        def fetch_arrow_batches(self) -> Iterator[pa.Table]:
            if not late:
                raise self.error
            return self._tables()

        def _tables(self) -> Iterator[pa.Table]:
            raise self.error
            yield

    cursor = Snowflake([(1,), (2,)], described(A=None))
    assert query(lambda: FakeConnection(cursor), "SHOW TABLES")["A"].to_pylist() == [1, 2]
    cursor = Snowflake([(1,)], described(A=None))
    cursor.error = RuntimeError("no network")
    with pytest.raises(DeepchecksSourceError, match="no network"):
        query(lambda: FakeConnection(cursor), "SELECT 1")
