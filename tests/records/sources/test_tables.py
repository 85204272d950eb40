# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows of real databases, through each driver, with their types, their order and nothing left open."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import psycopg2
import psycopg2.extensions
import psycopg2.extras
import pyarrow as pa
import pymysql
import pymysql.cursors
import pytest

from airflow_provider_deepchecks.exceptions import DeepchecksColumnsError, DeepchecksSourceError
from airflow_provider_deepchecks.records.intake import BadRowRules, Intake
from airflow_provider_deepchecks.records.sources import postgres_drivers
from airflow_provider_deepchecks.records.sources.cursors import Statement
from airflow_provider_deepchecks.records.sources.postgres import read_by_cursor
from airflow_provider_deepchecks.records.sources.postgres_drivers import Psycopg2, Psycopg3
from airflow_provider_deepchecks.records.sources.source import open_query, open_table
from airflow_provider_deepchecks.records.sources.tables import QuerySource, one_statement
from tests.records.checking import checker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services import Service

Connect = Callable[[], Any]

UTC = dt.UTC
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=UTC)
ANY_DECIMAL = pa.decimal256(76, 38)


def table_of(source: QuerySource) -> pa.Table:
    batches = list(source.batches())
    assert batches
    assert all(batch.schema.names == batches[0].schema.names for batch in batches)
    return pa.concat_tables(
        [pa.Table.from_batches([batch]) for batch in batches], promote_options="permissive"
    )


def query(connect: Connect, sql: str, parameters: Any = None, **options: Any) -> pa.Table:
    return table_of(open_query(connect, sql, parameters, **options))


def types_of(table: pa.Table) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in table.schema}


# -- PostgreSQL ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["psycopg2", "psycopg"])
def postgres(request: pytest.FixtureRequest, postgres_server: Service) -> Connect:
    module: Any = {"psycopg2": psycopg2, "psycopg": psycopg}[request.param]
    return lambda: module.connect(
        host=postgres_server.host,
        port=postgres_server.port,
        user=postgres_server.user,
        password=postgres_server.password,
        dbname=postgres_server.database,
        application_name="reader",
    )


@pytest.fixture
def readers_left(postgres_server: Service) -> Callable[[], int]:
    """Count the connections of the tests that the server still holds, after giving them a moment to go."""

    def count() -> int:
        with psycopg.connect(f"postgresql://{postgres_server.login}", autocommit=True) as connection:
            for _ in range(50):
                sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reader'"
                found: Any = connection.execute(sql).fetchone()
                if found[0] == 0:
                    return 0
                connection.execute("SELECT pg_sleep(0.1)")
        return int(found[0])

    return count


POSTGRES_TYPES = """
SELECT
    'é,"' || chr(10) || '''x' AS text, ''::text AS empty, NULL::text AS no, 'c'::varchar(3) AS varchar,
    (-32768)::int2 AS small, 2147483647::int4 AS int, 9223372036854775807::int8 AS big,
    0.1::float4 AS real, 0.1::float8 AS double, 'NaN'::float8 AS nan, '-Infinity'::float8 AS inf,
    12.3400::numeric(12,4) AS money, 12345678901234567890.123456789 AS exact, 1e-7::numeric AS small_exact,
    true AS yes, false AS nay,
    DATE '2026-01-01' AS day, TIMESTAMP '2026-01-01 12:00:00.123456' AS naive,
    TIMESTAMPTZ '2026-01-01 17:30:00+05:30' AS instant, TIMESTAMPTZ '1850-01-01 00:00:00+00' AS ancient,
    INTERVAL '1 day' AS span, TIME '01:02' AS clock,
    '{"a": [1, null]}'::json AS json, '{"b":1}'::jsonb AS jsonb,
    '00000000-0000-0000-0000-000000000001'::uuid AS uuid, '\\x00ff'::bytea AS bytes,
    ARRAY[1,2,NULL]::int4[] AS ints, ARRAY[0.5,'NaN']::float8[] AS floats,
    ARRAY[[1,2],[3,4]]::float8[] AS matrix,
    ARRAY['a','b,"}'] AS texts, '{}'::float8[] AS nothing, ARRAY[1.5]::numeric[] AS decimals
"""


def test_postgres_types_keep_their_meaning(postgres: Connect) -> None:
    table = query(postgres, POSTGRES_TYPES, dialect="postgresql")
    kinds = types_of(table)
    row = table.to_pylist()[0]
    assert {
        kinds[name] for name in ("text", "empty", "no", "varchar", "json", "jsonb", "uuid", "span", "clock")
    } == {pa.string()}
    assert (row["text"], row["empty"], row["no"]) == ("é,\"\n'x", "", None)
    assert {kinds[name] for name in ("small", "int", "big")} == {pa.int64()}
    assert (row["small"], row["int"], row["big"]) == (-32768, 2**31 - 1, 2**63 - 1)
    assert (row["real"], row["double"], str(row["nan"]), row["inf"]) == (0.1, 0.1, "nan", float("-inf"))
    assert (kinds["money"], row["money"]) == (pa.decimal128(12, 4), Decimal("12.34"))
    assert (kinds["exact"], row["exact"]) == (ANY_DECIMAL, Decimal("12345678901234567890.123456789"))
    assert row["small_exact"] == Decimal("1e-7")
    assert (row["yes"], row["nay"]) == (True, False)
    assert row["day"] == dt.date(2026, 1, 1)
    assert (kinds["naive"], row["naive"]) == (pa.timestamp("us"), dt.datetime(2026, 1, 1, 12, 0, 0, 123456))
    assert (kinds["instant"], row["instant"]) == (pa.timestamp("us", "UTC"), NOON)
    assert row["ancient"] == dt.datetime(1850, 1, 1, tzinfo=UTC)
    assert (row["json"], row["jsonb"]) == ('{"a": [1, null]}', '{"b": 1}')
    assert row["uuid"] == "00000000-0000-0000-0000-000000000001"
    assert kinds["bytes"] == pa.binary()
    assert (kinds["ints"], row["ints"]) == (pa.list_(pa.int64()), [1, 2, None])
    assert (kinds["floats"], str(row["floats"])) == (pa.list_(pa.float64()), "[0.5, nan]")
    assert (kinds["matrix"], row["matrix"]) == (pa.list_(pa.list_(pa.float64())), [[1.0, 2.0], [3.0, 4.0]])
    assert (row["texts"], row["nothing"], row["decimals"]) == (["a", 'b,"}'], [], [1.5])


def test_postgres_types_come_from_the_database_when_all_is_null(postgres: Connect) -> None:
    sql = f"SELECT (t).* FROM (SELECT t FROM ({POSTGRES_TYPES}) AS t WHERE false) AS none"
    full, none = (
        query(postgres, POSTGRES_TYPES, dialect="postgresql"),
        query(postgres, sql, dialect="postgresql"),
    )
    assert none.num_rows == 0
    # How many dimensions an array has is told by the first one.
    arrays = {name for name, kind in types_of(full).items() if pa.types.is_list(kind)}
    assert arrays == {name for name, kind in types_of(none).items() if pa.types.is_null(kind)}
    assert {n: k for n, k in types_of(none).items() if n not in arrays} == {
        n: k for n, k in types_of(full).items() if n not in arrays
    }
    nulls = query(
        postgres, "SELECT NULL::int AS a, NULL::timestamptz AS b, NULL::float8[] AS c", dialect="postgresql"
    )
    assert list(types_of(nulls).values()) == [pa.int64(), pa.timestamp("us", "UTC"), pa.null()]
    assert nulls.to_pylist() == [{"a": None, "b": None, "c": None}]


def test_a_row_of_one_null_is_a_row(postgres: Connect) -> None:
    sql = "SELECT CASE WHEN i % 2 = 0 THEN i::text END AS a FROM generate_series(1, 4) i"
    assert query(postgres, sql, dialect="postgresql")["a"].to_pylist() == [None, "2", None, "4"]


@pytest.mark.parametrize("parameters", [{"n": 3, "t": "5%'"}, None])
def test_postgres_parameters_are_quoted_and_percent_signs_left_alone(
    postgres: Connect, parameters: Any
) -> None:
    if parameters is None:
        sql = "SELECT '5%' AS t, 7 % 4 AS n"
        assert query(postgres, sql, dialect="postgresql").to_pylist() == [{"t": "5%", "n": 3}]
    else:
        sql = "SELECT %(t)s::text AS t, %(n)s::int AS n, '%%' AS p"
        assert query(postgres, sql, parameters, dialect="postgresql").to_pylist() == [
            {"t": "5%'", "n": 3, "p": "%"}
        ]


def test_postgres_orders_by_time_and_id_whatever_ends_the_statement(postgres: Connect) -> None:
    sql = """
    WITH numbers AS (SELECT i FROM generate_series(1, 5000) i)
    SELECT 'id-' || (i * 7919 % 5003) AS "the ""id", i AS timezone,
           TIMESTAMPTZ '2026-01-01' + (i % 10) * interval '1 s' AS at
    FROM numbers ORDER BY i DESC;  -- newest first
    """
    source = open_query(postgres, sql, dialect="postgresql", order_by=["at", 'the "id'])
    assert source.ordered
    first, second = table_of(source), table_of(source)
    assert first.equals(second)
    keys = list(zip(first["at"].to_pylist(), first['the "id'].to_pylist(), strict=True))
    assert len(keys) == 5000
    assert [at for at, _ in keys] == sorted(at for at, _ in keys)
    by_time: dict[Any, list[str]] = {}
    for at, id_ in keys:
        by_time.setdefault(at, []).append(id_)
    assert all(len(set(ids)) == 500 for ids in by_time.values())


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("SELECT 1 AS id, 'soon'::text AS at", False),
        ("SELECT 1 AS id, now() AS time", False),
        ("SELECT 1 AS id, 5 AS at", True),
        ("SELECT 1 AS id, current_date AS at", True),
        ("SELECT 1 AS id, NULL::timestamp AS at", True),
    ],
)
def test_only_a_time_or_number_is_ordered_by_the_database(postgres: Connect, sql: str, ordered: bool) -> None:
    source = open_query(postgres, sql, dialect="postgresql", order_by=["at", "id"])
    assert source.ordered is ordered
    assert table_of(source).num_rows == 1


def test_without_columns_to_order_by_nothing_is_asked() -> None:
    def connect() -> Any:
        raise AssertionError("connected")

    assert open_query(connect, "SELECT 1", dialect="postgresql").ordered is False
    assert open_query(connect, "SELECT 1", dialect="mssql", order_by=["at", "id"]).ordered is False
    assert open_query(connect, "SELECT 1", dialect="sqlite", order_by=["at", "id"]).ordered is False


def test_settings_that_mean_something_to_the_query_are_left_alone(postgres: Connect) -> None:
    def connect() -> Any:
        connection = postgres()
        connection.cursor().execute("SET TIME ZONE 'Asia/Kolkata'; SET DateStyle = 'SQL, DMY'")
        connection.commit()
        return connection

    sql = (
        "SELECT TIMESTAMPTZ '2026-01-01 17:30' AS a, DATE '02.01.2026' AS b, current_setting('TimeZone') AS c"
    )
    assert query(connect, sql, dialect="postgresql").to_pylist() == [
        {"a": NOON, "b": dt.date(2026, 1, 2), "c": "Asia/Kolkata"}
    ]


def test_postgres_reads_in_a_transaction_that_cannot_write(
    postgres: Connect, postgres_server: Service
) -> None:
    with psycopg.connect(f"postgresql://{postgres_server.login}") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS written (a int)")
        connection.execute(
            "CREATE OR REPLACE FUNCTION sneak() RETURNS int LANGUAGE sql AS "
            "'INSERT INTO written VALUES (1) RETURNING a'"
        )
    with pytest.raises(DeepchecksSourceError, match="read-only transaction"):
        query(postgres, "SELECT sneak() AS a", dialect="postgresql")


def test_postgres_connections_set_to_autocommit_or_dicts_read_the_same(postgres: Connect) -> None:
    def connect() -> Any:
        connection = postgres()
        connection.autocommit = True
        if hasattr(connection, "cursor_factory") and isinstance(connection, psycopg2.extensions.connection):
            connection.cursor_factory = psycopg2.extras.RealDictCursor
        elif isinstance(connection, psycopg.Connection):
            connection.row_factory = psycopg.rows.dict_row  # type: ignore[assignment]
        return connection

    assert query(connect, "SELECT 1 AS a", dialect="postgresql").to_pylist() == [{"a": 1}]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT 1/(i-5000) AS a FROM generate_series(1, 9000) i", "division by zero"),
        ("SELEC 1", "syntax error"),
        ("SHOW ALL", "syntax error"),
        ("SELECT 1 AS n, repeat('x', 3000000) AS s", "a row of more than 1,048,576 bytes"),
        (
            "SELECT CASE i WHEN 2 THEN ARRAY[[1]] ELSE ARRAY[1] END AS m FROM generate_series(1, 2) i",
            "does not hold list",
        ),
    ],
)
def test_postgres_errors_name_the_connection_and_leave_nothing_open(
    postgres: Connect, readers_left: Callable[[], int], sql: str, told: str
) -> None:
    source = open_query(postgres, sql, dialect="postgresql", name="warehouse")
    with pytest.raises(DeepchecksSourceError, match=told) as caught:
        table_of(source)
    assert str(caught.value).startswith("The query on warehouse (postgresql)")
    assert readers_left() == 0


def sent_and_bad(
    source: QuerySource, features: dict[str, str], **options: Any
) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """The rows of a source that can be sent, and what is wrong with the others by their ids."""
    intake = Intake(source, lambda: checker(features, **options), BadRowRules("quarantine", "send"))
    rows = [row for batch in intake.batches() for row in batch.to_pylist()]
    bad: dict[str, list[str]] = {}
    for row in intake.report.examples:
        bad.setdefault(str(row.sample_id), []).append(row.detail)
    return rows, bad


ROW = "SELECT i AS id, TIMESTAMPTZ '2026-01-01 10:00:00+00' + i * interval '1 s' AS at, 1.5::float8 AS guess"


@pytest.mark.parametrize("non_finite", ["null", "invalid"])
@pytest.mark.parametrize("kind", ["numeric", "numeric(30,10)", "numeric(50,3)"])
def test_postgres_numerics_that_are_no_numbers_are_nulls_or_bad_rows(
    postgres: Connect, kind: str, non_finite: str
) -> None:
    exact = "12345678901234567890.125"
    sql = f"""
    {ROW}, CASE i WHEN 2 THEN 'NaN' WHEN 3 THEN {exact} WHEN 5 THEN 'NaN' ELSE i + 0.25 END::{kind} AS x
    FROM generate_series(1, 6) i
    """
    source = open_query(postgres, sql, dialect="postgresql", order_by=["at", "id"])
    rows, bad = sent_and_bad(source, {"x": "categorical"}, non_finite=non_finite)
    told = ["1.25", None, exact, "4.25", None, "6.25"]
    if non_finite == "null":
        assert ([row["x"] for row in rows], bad) == (told, {})
    else:
        assert [row["x"] for row in rows] == [text for text in told if text is not None]
        assert bad == {"2": ["NaN or infinite: nan"], "5": ["NaN or infinite: nan"]}
    assert [row["__position"] for row in rows] == sorted(row["__position"] for row in rows)


def test_one_nan_among_many_numerics_makes_no_small_batches(postgres: Connect) -> None:
    sql = """
    SELECT CASE WHEN i % 3 = 0 THEN 'NaN' ELSE i / 8.0 END::numeric AS x FROM generate_series(1, 999) i
    """
    batches = list(open_query(postgres, sql, dialect="postgresql").batches())
    assert [batch.num_rows for batch in batches] == [999]
    assert batches[0]["x"].to_pylist()[6:8] == [0.875, 1.0]


def test_postgres_numerics_of_any_size_are_read(postgres: Connect) -> None:
    sql = f"""
    {ROW}, (ARRAY[1e-40, 1e60, 'Infinity', '-Infinity', 0.1, 12345678901234567890.5, NULL])[i]::numeric AS x
    FROM generate_series(1, 7) i ORDER BY i
    """
    rows, bad = sent_and_bad(open_query(postgres, sql, dialect="postgresql"), {"x": "numeric"})
    assert [row["x"] for row in rows] == [1e-40, 1e60, None, None, 0.1, 12345678901234567890.5, None]
    assert bad == {}


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
def test_postgres_times_beyond_the_calendar_are_bad_rows(postgres: Connect, kind: str) -> None:
    sql = f"""
    {ROW},
        (ARRAY['infinity', '-infinity', '0044-03-15 BC', '20000-01-01', '2026-01-02', NULL])[i]::{kind} AS d
    FROM generate_series(1, 6) i
    """

    def connect() -> Any:
        connection = postgres()
        connection.cursor().execute("SET TIME ZONE 'Asia/Kolkata'")
        connection.commit()
        return connection

    source = open_query(connect, sql, dialect="postgresql", order_by=["at", "id"])
    rows, bad = sent_and_bad(source, {"d": "datetime"}, timezone="Asia/Kolkata")
    assert [row["d"] for row in rows] == [dt.datetime(2026, 1, 1, 18, 30, tzinfo=UTC), None]
    assert {name: len(found) for name, found in bad.items()} == {"1": 1, "2": 1, "3": 1, "4": 1}
    assert bad["1"] == ["not a time: 'infinity'"]
    assert all("0044-03-1" in found for found in bad["3"])


def test_postgres_sample_times_beyond_the_calendar_are_bad_rows(postgres: Connect) -> None:
    sql = """
    SELECT i AS id, CASE i WHEN 2 THEN 'infinity' ELSE '2026-01-01 10:00:00.5+00' END::timestamptz AS at,
           1.5 AS guess FROM generate_series(1, 3) i
    """
    source = open_query(postgres, sql, dialect="postgresql", order_by=["at", "id"])
    rows, bad = sent_and_bad(source, {})
    noon = dt.datetime(2026, 1, 1, 10, 0, 0, 500_000, tzinfo=UTC)
    assert [(row["_dc_sample_id"], row["__time"]) for row in rows] == [("1", noon), ("3", noon)]
    assert bad == {"2": ["not a time: 'infinity'"]}


def test_postgres_arrays_after_many_nulls(postgres: Connect) -> None:
    sql = f"""
    {ROW}, repeat('x', 3000) AS filler, CASE WHEN i > 900 THEN ARRAY[ARRAY[1.5, i]] END::float8[] AS m,
           CASE WHEN i > 900 THEN ARRAY[i] END AS l
    FROM generate_series(1, 1000) i
    """
    source = open_query(postgres, sql, dialect="postgresql", order_by=["at", "id"])
    rows, bad = sent_and_bad(source, {"filler": "text", "m": "array_float_2d", "l": "array_float"})
    assert len(rows) == 1000
    assert [(row["m"], row["l"]) for row in (rows[0], rows[-1])] == [(None, None), ([[1.5, 1000]], [1000])]
    assert bad == {}


def test_postgres_columns_may_have_the_name_of_an_expression(postgres: Connect) -> None:
    sql = """
    SELECT i AS id, TIMESTAMPTZ '2026-01-01 00:00+00' + i * interval '1 h' AS other, 1.0 AS guess,
           TIMESTAMPTZ '2026-01-01 00:00+00' - i * interval '1 h' AS timezone, ARRAY[i] AS array_to_json
    FROM generate_series(1, 3) i
    """
    source = open_query(postgres, sql, dialect="postgresql", order_by=["timezone", "id"])
    assert table_of(source)["id"].to_pylist() == [3, 2, 1]
    source = open_query(postgres, sql, dialect="postgresql", order_by=["other", "id"])
    assert table_of(source)["id"].to_pylist() == [1, 2, 3]


def test_errors_show_no_parameters(postgres: Connect) -> None:
    sql = "SELECT nowhere\nFROM pg_class WHERE relname = %(p)s"
    with pytest.raises(DeepchecksSourceError) as caught:
        query(postgres, sql, {"p": "my-secret"}, dialect="postgresql", name="warehouse")
    message = str(caught.value)
    assert message.startswith("The query on warehouse (postgresql) failed in reading: psycopg")
    assert "my-secret" not in message + repr(caught.value.__cause__)
    assert "my-secret" not in repr(open_query(postgres, sql, {"p": "my-secret"}, dialect="postgresql"))


def test_an_error_in_the_middle_gives_no_half_row(postgres: Connect) -> None:
    sql = "SELECT i AS a, repeat('x', 100) AS b, 1/(i-100000) AS c FROM generate_series(1, 200000) i"
    rows: list[int] = []

    def read() -> None:
        for batch in open_query(postgres, sql, dialect="postgresql").batches():
            rows.extend(batch["a"].to_pylist())
            assert set(batch["b"].to_pylist()) == {"x" * 100}

    with pytest.raises(DeepchecksSourceError, match="division by zero"):
        read()
    assert rows == list(range(1, len(rows) + 1))
    assert len(rows) < 100_000


#: A query that gives its rows as they are asked for, for hours.
ENDLESS = "SELECT generate_series(1, 1000000000) AS a, repeat('x', 200) AS b"


def test_stopping_early_ends_the_query_at_once(postgres: Connect, readers_left: Callable[[], int]) -> None:
    reading: Any = open_query(postgres, ENDLESS, dialect="postgresql").batches()
    assert next(reading).num_rows > 0
    reading.close()
    assert readers_left() == 0


def test_stopping_early_does_not_wait_for_a_slow_query(postgres: Connect) -> None:
    """Arrow reads ahead of the first batch, into rows that take their time."""
    sql = """
    SELECT i, repeat('x', 200) AS b, CASE WHEN i > 25000 THEN pg_sleep(30)::text END AS c
    FROM generate_series(1, 25001) i
    """
    reading: Any = open_query(postgres, sql, dialect="postgresql").batches()
    next(reading)
    started = time.monotonic()
    reading.close()
    assert time.monotonic() - started < 20


def copying_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "deepchecks-copy"}


def test_no_thread_uses_a_connection_that_is_closed(postgres_server: Service) -> None:
    """Drivers free what a connection's other threads are using: such a process was seen to abort."""
    before = copying_threads()
    copying = []

    class Connection(psycopg2.extensions.connection):
        def close(self) -> None:
            copying.append(bool(copying_threads() - before))
            super().close()

    login = f"postgresql://{postgres_server.login}"
    source = open_query(
        lambda: psycopg2.connect(login, connection_factory=Connection), ENDLESS, dialect="postgresql"
    )
    reading: Any = source.batches()
    next(reading)
    assert copying_threads() - before
    reading.close()
    assert copying == [False]


def test_a_server_that_does_not_cancel_is_hung_up_on(
    postgres: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_drivers, "CANCEL_SECONDS", 0.5)
    before = copying_threads()
    opened: list[Any] = []

    def connect() -> Any:
        opened.append(postgres())
        return opened[-1]

    reading: Any = open_query(connect, ENDLESS, dialect="postgresql").batches()
    next(reading)
    backend = opened[0].info.backend_pid
    # At once, while Arrow is reading ahead.
    os.kill(backend, signal.SIGSTOP)
    try:
        started = time.monotonic()
        reading.close()
        # Not as soon as a server that cancels, and not only when this one goes on.
        assert 0.4 < time.monotonic() - started < 60
    finally:
        os.kill(backend, signal.SIGCONT)
    assert not copying_threads() - before


@pytest.mark.parametrize("driver", [Psycopg2, Psycopg3])
def test_a_copy_is_a_file_that_is_read_in_any_pieces(driver: Any, postgres_server: Service) -> None:
    module: Any = psycopg2 if driver is Psycopg2 else psycopg
    connection = module.connect(f"postgresql://{postgres_server.login}")

    def copied(sql: str) -> Any:
        return driver(connection).copy(f"COPY ({sql}) TO STDOUT (FORMAT csv)")

    stream = copied("SELECT i FROM generate_series(1, 100000) i")
    assert [stream.read(1), stream.read(3), stream.read(0)] == [b"1", b"\n2\n", b""]
    assert stream.read() == "".join(f"{i}\n" for i in range(3, 100_001)).encode()
    assert [stream.read(10), stream.read()] == [b"", b""]
    stream.close()
    # Stopped in the middle, twice; the connection is free again after a rollback.
    stream = copied("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)")
    assert len(stream.read(10)) == 10
    stream.close()
    stream.close()
    assert stream.closed
    connection.rollback()
    stream = copied("SELECT 1/(i-90000) FROM generate_series(1, 100000) i")
    with pytest.raises(module.Error, match="division by zero"):
        stream.read()
    stream.close()
    connection.close()


@pytest.mark.parametrize("driver", [Psycopg2, Psycopg3])
def test_redshift_is_read_by_a_cursor(driver: Any, postgres_server: Service) -> None:
    module: Any = psycopg2 if driver is Psycopg2 else psycopg
    connection = module.connect(f"postgresql://{postgres_server.login}")
    sql = (
        "SELECT i AS a, i * 0.5 AS x, TIMESTAMPTZ '2026-01-01 12:00+00' AS at "
        "FROM generate_series(1, 3000) i WHERE i > %s"
    )
    batches = list(read_by_cursor(driver(connection), Statement(sql, (1000,), ("a DESC",), 700)))
    table = pa.Table.from_batches(batches)
    assert table["a"].to_pylist() == list(range(3000, 1000, -1))
    assert table["at"][0].as_py() == NOON
    assert max(batch.num_rows for batch in batches) == 700
    connection.close()


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


# -- MySQL ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["MySQLdb", "pymysql", "mysql.connector"])
def mysql(request: pytest.FixtureRequest, mysql_server: Service) -> Connect:
    import importlib

    module = importlib.import_module(request.param)
    return lambda **options: module.connect(
        host=mysql_server.host,
        port=mysql_server.port,
        user=mysql_server.user,
        password=mysql_server.password,
        database=mysql_server.database,
        **{"charset": "utf8mb4"} | options,
    )


@pytest.fixture
def mysql_left(mysql_server: Service) -> Iterator[Callable[[], int]]:
    connection = pymysql.connect(
        host=mysql_server.host, port=mysql_server.port, user=mysql_server.user, password=mysql_server.password
    )

    def count() -> int:
        with connection.cursor() as cursor:
            for _ in range(50):
                cursor.execute(
                    "SELECT count(*) FROM information_schema.processlist WHERE user = 'deepchecks'"
                )
                found: Any = cursor.fetchone()
                if found[0] == 1:
                    return 0
                cursor.execute("SELECT sleep(0.1)")
        return int(found[0]) - 1

    yield count
    connection.close()


MYSQL_TYPES = """
SELECT
    CONVERT('é\\n' USING utf8mb4) AS text, '' AS empty, CAST(NULL AS CHAR) AS no,
    CAST(-1 AS SIGNED) AS big, CAST(18446744073709551615 AS UNSIGNED) AS unsigned_big,
    CAST(0.1 AS DOUBLE) AS dbl, CAST(0.1 AS FLOAT) AS flt, 1 = 1 AS yes,
    CAST(12.34 AS DECIMAL(12,4)) AS money, CAST(0.5 AS DECIMAL(65,30)) AS wide,
    DATE '2026-01-01' AS day, CAST('2026-01-01 12:00:00.123456' AS DATETIME(6)) AS naive,
    TIME '01:02:03' AS clock,
    CAST(X'00FF' AS BINARY(2)) AS bytes, JSON_OBJECT('a', 1) AS json,
    CAST(NULL AS DATETIME) AS no_time, CAST(NULL AS DECIMAL(10,2)) AS no_money
"""


def test_mysql_types_keep_their_meaning(mysql: Connect) -> None:
    table = query(mysql, MYSQL_TYPES, dialect="mysql")
    kinds, row = types_of(table), table.to_pylist()[0]
    assert (row["text"], row["empty"], row["no"]) == ("é\n", "", None)
    assert (kinds["big"], kinds["unsigned_big"], row["unsigned_big"]) == (pa.int64(), pa.uint64(), 2**64 - 1)
    assert (row["dbl"], row["flt"], row["yes"]) == (0.1, 0.1, 1)
    assert (row["money"], row["wide"]) == (Decimal("12.34"), Decimal("0.5"))
    assert pa.types.is_decimal(kinds["no_money"])
    assert (row["day"], row["naive"]) == (dt.date(2026, 1, 1), dt.datetime(2026, 1, 1, 12, 0, 0, 123456))
    assert (kinds["naive"], kinds["no_time"]) == (pa.timestamp("us"), pa.timestamp("us"))
    assert row["clock"] == "01:02:03"
    assert (kinds["bytes"], row["bytes"]) == (pa.binary(), b"\x00\xff")
    assert row["json"].replace(" ", "") == '{"a":1}'


@pytest.mark.parametrize(
    ("zone", "kind"), [("+00:00", pa.timestamp("us", "UTC")), ("+05:30", pa.timestamp("us"))]
)
def test_mysql_timestamps_are_utc_where_the_session_is(
    mysql: Connect, mysql_server: Service, zone: str, kind: pa.DataType
) -> None:
    def connect() -> Any:
        connection = mysql()
        connection.cursor().execute(f"SET time_zone = '{zone}'")
        return connection

    made = connect()
    made.cursor().execute("CREATE TABLE IF NOT EXISTS stamps (at TIMESTAMP(6) NULL, n INT)")
    made.cursor().execute("DELETE FROM stamps")
    made.cursor().execute("INSERT INTO stamps VALUES ('2026-01-01 12:00:00', 1), (NULL, 2)")
    made.commit()
    made.close()
    table = query(connect, "SELECT * FROM stamps ORDER BY n", dialect="mysql")
    assert types_of(table)["at"] == kind
    expected = NOON if kind.tz else NOON.replace(tzinfo=None)
    assert table["at"].to_pylist() == [expected, None]


def test_mysql_values_are_the_same_through_each_driver(mysql: Connect) -> None:
    connection = mysql()
    for sql in (
        "SET sql_mode = ''",
        "DROP TABLE IF EXISTS odd",
        "CREATE TABLE odd (id INT, `f``5%` FLOAT, at TIME, at3 TIME(3), flag BIT(1), bits BIT(64), "
        "kinds SET('a', 'b'), day DATE, moment DATETIME(3), stamp TIMESTAMP NULL)",
        "INSERT INTO odd VALUES "
        "(1, 16777217, '09:05:00', '-12:00:00.5', 1, -1, 'a,b', '0000-00-00', '0000-00-00', '0000-00-00'), "
        "(2, 0.1, '838:59:59', '00:00:00', 0, 300, '', '2026-00-00', '2026-01-01 12:00', '2026-01-01'), "
        "(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    ):
        connection.cursor().execute(sql)
    connection.commit()
    connection.close()
    expected = {
        "id": [3, 2, 1],
        "f`5%": [None, 0.1, 16777216.0],
        "at": [None, "838:59:59", "09:05:00"],
        "at3": [None, "00:00:00.000", "-12:00:00.500"],
        "flag": [None, 0, 1],
        "bits": [None, 300, 2**64 - 1],
        "kinds": [None, "", "a,b"],
        "day": [None, None, None],
        "moment": [None, NOON.replace(tzinfo=None), None],
    }
    sql = "SELECT * FROM odd WHERE id < %s ORDER BY id DESC"
    table = query(mysql, sql, (9,), dialect="mysql")
    assert table.drop_columns(["stamp"]).to_pydict() == expected
    assert table["stamp"].null_count == 2
    assert query(mysql, f"{sql} LIMIT 2", (9,), dialect="mysql")["id"].to_pylist() == [3, 2]
    # By the column itself, and not by what is selected of it.
    ordered = open_query(
        mysql, "SELECT id, at AS c0, flag AS c1 FROM odd", dialect="mysql", order_by=["id", "c0"]
    )
    assert table_of(ordered).to_pydict() == {
        "id": [1, 2, 3],
        "c0": ["09:05:00", "838:59:59", None],
        "c1": [1, 0, None],
    }


def test_mysql_orders_rows_the_same_each_time(mysql: Connect) -> None:
    sql = """
    WITH numbers AS (SELECT seq AS i FROM seq_1_to_3000)
    SELECT CONCAT(IF(i % 2, 'A', 'a'), '-', i DIV 2) AS `the ``id`,
        TIMESTAMP '2026-01-01 00:00:00' + INTERVAL i % 5 SECOND AS at
    FROM numbers ORDER BY i DESC; # newest first
    """
    source = open_query(mysql, sql, dialect="mysql", order_by=["at", "the `id"])
    assert source.ordered
    first = table_of(source)
    assert first.num_rows == 3000
    assert first.equals(table_of(source))
    assert first["at"].to_pylist() == sorted(first["at"].to_pylist())


def test_mysql_keeps_the_order_of_a_query(mysql: Connect) -> None:
    sql = f"""
    SELECT seq FROM (SELECT seq FROM seq_1_to_9 WHERE seq < 9 LIMIT 9) AS few
    WHERE seq IN (2, 3{", 1" * 9000})
    Order
    By seq DESC
    """
    assert query(mysql, sql, dialect="mysql")["seq"].to_pylist() == [3, 2, 1]


@pytest.mark.parametrize("charset", ["utf8", "latin1"])
def test_mysql_text_comes_whole_whatever_the_charset_of_the_connection(mysql: Connect, charset: str) -> None:
    def connect() -> Any:
        return mysql(charset=charset)

    sql = "SELECT CONCAT('é', CONVERT(X'F09F9880' USING utf8mb4)) AS a, %s AS b"
    assert query(connect, sql, ("東",), dialect="mysql").to_pylist() == [{"a": "é😀", "b": "東"}]


def test_mysql_rows_stay_on_the_server_as_long_as_sending_takes(mysql: Connect) -> None:
    sql = (
        "SELECT @@session.net_write_timeout AS wait, @@session.tx_read_only AS fixed, seq FROM seq_1_to_20000"
    )
    sizes = []
    for batch in open_query(mysql, sql, dialect="mysql", batch_rows=1000).batches():
        sizes.append(batch.num_rows)
        assert batch["wait"][0].as_py() == 86_400
    assert sum(sizes) == 20_000
    assert max(sizes) == 1000


def test_mysql_parameters_are_quoted_and_percent_signs_left_alone(mysql: Connect) -> None:
    assert query(mysql, "SELECT %s AS t", ("5%'",), dialect="mysql").to_pylist() == [{"t": "5%'"}]
    assert query(mysql, "SELECT '5%' AS t", dialect="mysql").to_pylist() == [{"t": "5%"}]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT * FROM nowhere", "nowhere' doesn't exist"),
        (
            "SELECT seq, IF(seq < 5000, 1, (SELECT 1 UNION SELECT 2)) AS a FROM seq_1_to_9000",
            "more than 1 row",
        ),
        ("SELECT @made, 1 AS a, 2 AS a", "Duplicate column name 'a'"),
        ("INSERT INTO stamps VALUES (NULL, 1)", "error in your SQL syntax"),
    ],
)
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_mysql_errors_leave_nothing_open(
    mysql: Connect, mysql_left: Callable[[], int], sql: str, told: str
) -> None:
    with pytest.raises(DeepchecksSourceError, match=told):
        query(mysql, sql, dialect="mysql", name="shop")
    assert mysql_left() == 0


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_mysql_stops_early_without_reading_the_rest(mysql: Connect, mysql_left: Callable[[], int]) -> None:
    reading: Any = open_query(mysql, "SELECT seq FROM seq_1_to_100000000", dialect="mysql").batches()
    assert next(reading).num_rows > 0
    reading.close()
    assert mysql_left() == 0


# -- SQLite --------------------------------------------------------------------------------------------------


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
    thread = threading.Thread(target=lambda: next(reading))
    thread.start()
    thread.join()
    reading.close()


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


# -- statements ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "statement"),
    [
        ("SELECT 1", "SELECT 1"),
        ("  SELECT 1 ;\n", "SELECT 1"),
        ("SELECT ';' AS a; -- done", "SELECT ';' AS a"),
        ("/* why */ SELECT /*+ hint */ 1 -- what", "/* why */ SELECT /*+ hint */ 1"),
        ("SELECT '--' AS a", "SELECT '--' AS a"),
        pytest.param(f"SELECT 1 IN (1{', 1' * 9000});", f"SELECT 1 IN (1{', 1' * 9000})", id="many tokens"),
    ],
)
def test_one_statement_is_taken_without_its_end(sql: str, statement: str) -> None:
    assert one_statement(sql) == statement


@pytest.mark.parametrize("sql", ["", " ; ", "-- nothing", "SELECT 1; SELECT 2", "DELETE FROM t; SELECT 1"])
def test_other_than_one_statement_is_refused(sql: str) -> None:
    with pytest.raises(DeepchecksSourceError, match="must be one SELECT"):
        one_statement(sql)


def test_tables_are_read_whole(sqlite: Callable[..., Connect]) -> None:
    connect = sqlite("CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2)")
    source = open_table(connect, "main.t", dialect="sqlite", name="shop")
    assert source.description == "table main.t on shop"
    assert table_of(source).to_pylist() == [{"a": 1}, {"a": 2}]
    for name in ("", "t; DROP TABLE t", "(SELECT 1)", "t --"):
        with pytest.raises(DeepchecksSourceError, match="no name of a table"):
            open_table(connect, name)


def test_connecting_that_fails_is_told() -> None:
    def connect() -> Any:
        raise OSError("no route to host")

    with pytest.raises(
        DeepchecksSourceError,
        match=r"The query on shop \(mysql\) failed in connecting: builtins.OSError: no route",
    ):
        query(connect, "SELECT 1", dialect="mysql", name="shop")


def test_the_fingerprint_tells_statement_parameters_and_order() -> None:
    def fingerprint(sql: str, parameters: Any = None, **options: Any) -> str:
        return open_query(lambda: None, sql, parameters, **options).fingerprint()

    base = fingerprint("SELECT 1", {"a": 1})
    assert fingerprint("SELECT 1;", {"a": 1}) == base
    others = [fingerprint("SELECT 2", {"a": 1}), fingerprint("SELECT 1", {"a": 2}), fingerprint("SELECT 1")]
    others.append(fingerprint("SELECT 1", {"a": 1}, order_by=["at", "id"]))
    assert len({base, *others}) == 5
