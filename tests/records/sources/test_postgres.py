# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows of a real PostgreSQL through both drivers, with their types, their order and nothing left open."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg2
import psycopg2.extensions
import psycopg2.extras
import pyarrow as pa
import pytest

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.intake import BadRowRules, Intake
from airflow_provider_deepchecks.records.sources import csv_blocks, postgres_drivers
from airflow_provider_deepchecks.records.sources.cursors import Statement
from airflow_provider_deepchecks.records.sources.postgres import read_by_cursor
from airflow_provider_deepchecks.records.sources.postgres_drivers import Psycopg2, Psycopg3
from airflow_provider_deepchecks.records.sources.source import open_query
from tests.records.checking import checker
from tests.records.sources.reading import ANY_DECIMAL, NOON, UTC, Connect, query, table_of, types_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_deepchecks.records.sources.tables import QuerySource
    from tests.services import Service


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
        ("SELECT 1 AS n, repeat('x', 40000000) AS s", "a row of more than 16,777,216 bytes"),
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


def test_postgres_rows_too_long_to_send_are_named(postgres: Connect) -> None:
    sql = f"{ROW}, repeat('x', CASE i WHEN 2 THEN 5000000 ELSE 3 END) AS x FROM generate_series(1, 3) i"
    source = open_query(postgres, sql, dialect="postgresql", order_by=["at", "id"])
    rows, bad = sent_and_bad(source, {"x": "text"})
    assert [(row["_dc_sample_id"], row["x"]) for row in rows] == [("1", "xxx"), ("3", "xxx")]
    assert list(bad) == ["2"]


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
    assert bad["1"] == ["not a time: 'infinity' (ISO 8601 is wanted, such as 2026-01-31T09:30:00Z)"]
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
    assert bad == {"2": ["not a time: 'infinity' (ISO 8601 is wanted, such as 2026-01-31T09:30:00Z)"]}


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


@pytest.mark.parametrize("sql", ["SELEC id", "DELETE FROM pg_class RETURNING *"])
def test_what_is_no_select_is_told(postgres: Connect, sql: str) -> None:
    with pytest.raises(DeepchecksSourceError, match=r"syntax error .*; the query must be one SELECT"):
        query(postgres, sql, dialect="postgresql")


def test_a_parameter_that_is_not_given_is_told(postgres: Connect) -> None:
    with pytest.raises(
        DeepchecksSourceError, match=r"'day'; sql_parameters= does not have|parameter missing: day"
    ):
        query(postgres, "SELECT %(day)s AS a", {"other": 1}, dialect="postgresql")


def test_line_breaks_in_text_stay_where_blocks_end_in_them(
    postgres: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 64)
    sql = "SELECT repeat('x', i) || E'\\r\\ny' AS a FROM generate_series(1, 100) i"
    table = query(postgres, sql, dialect="postgresql")
    assert table["a"].to_pylist() == [f"{'x' * i}\r\ny" for i in range(1, 101)]


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
