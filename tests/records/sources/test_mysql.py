# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows of a real MariaDB through each driver, with their types, their order and nothing left open."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pymysql
import pymysql.cursors
import pytest

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.sources.source import open_query
from tests.records.sources.reading import NOON, Connect, query, table_of, types_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.services import Service


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
