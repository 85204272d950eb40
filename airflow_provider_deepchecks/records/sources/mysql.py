# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows from MySQL and MariaDB."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import pyarrow as pa
from sqlparse.tokens import Keyword

from airflow_provider_deepchecks.records.casts.objects import ANY_DECIMAL, NAIVE_TIME, UTC_TIME
from airflow_provider_deepchecks.records.sources.cursors import (
    Batches,
    Statement,
    close_quietly,
    execute,
    tokens_of,
)
from airflow_provider_deepchecks.records.sources.rows import tuple_batches

#: Seconds that the server waits for us to read on: sending can pause for minutes (rate limit), and the
#: default of 60 s cuts the connection.
_WRITE_TIMEOUT: Final = 86_400
_NO_LIMIT: Final = 2**64 - 1
_UNSIGNED_FLAG: Final = 32
_SET_FLAG: Final = 2048

_DECIMALS: Final = {0, 246}
_INTEGERS: Final = {1, 2, 3, 8, 9, 13}
_FLOAT: Final = 4
_TIMESTAMP: Final = 7
_TIMES: Final = {7, 10, 12}
_TIME_OF_DAY: Final = 11
_BIT: Final = 16
_TYPES: Final[dict[int, pa.DataType]] = {
    4: pa.float64(),
    5: pa.float64(),
    10: pa.date32(),
    11: pa.string(),
    12: NAIVE_TIME,
    14: pa.date32(),
    16: pa.uint64(),
    245: pa.string(),
}


@dataclass(frozen=True)
class Column:
    """A column of the result.

    :param code: its type in MySQL.
    """

    name: str
    code: int
    size: Any
    scale: Any
    flags: int

    def kind(self, timestamp: pa.DataType) -> pa.DataType | None:
        """The type of its values, None when they have to tell.

        :param timestamp: what TIMESTAMP columns are.
        """
        if self.code in _INTEGERS:
            return pa.uint64() if self.code == 8 and self.flags & _UNSIGNED_FLAG else pa.int64()
        if self.code in _DECIMALS:
            # The size counts sign and point besides the digits.
            small = isinstance(self.scale, int) and isinstance(self.size, int) and self.size <= 38
            return pa.decimal128(38, self.scale) if small else ANY_DECIMAL
        # Text and binary columns share their codes: the values tell.
        return timestamp if self.code == _TIMESTAMP else _TYPES.get(self.code)

    @property
    def expression(self) -> str:
        """What to select: values that the protocol cuts, or that each driver takes for something else."""
        name = f"rows_to_send.`{self.name.replace('`', '``')}`"
        if self.code == _FLOAT:
            return f"{name} + 0e0"  # FLOAT comes with six digits, DOUBLE with all
        if self.code == _BIT:
            return f"{name} + 0"
        if self.code == _TIME_OF_DAY or self.flags & _SET_FLAG:
            return f"CAST({name} AS CHAR)"
        if self.code in _TIMES:
            return f"IF(MONTH({name}) AND DAYOFMONTH({name}), {name}, NULL)"  # 0000-00-00
        return name


def read(connection: Any, statement: Statement) -> Batches:
    """Read from MySQL or MariaDB with a cursor that leaves the rows on the server.

    TIMESTAMP columns are UTC when the session's zone is; else their local times come naive, as DATETIME does.
    The session's zone is not changed, because literals in the query mean times in it.
    """
    cursor: Any = None
    try:
        cursor = _cursor(connection)
        for setting in (f"SET SESSION net_write_timeout = {_WRITE_TIMEOUT}", "START TRANSACTION READ ONLY"):
            cursor.execute(setting)
        cursor.execute("SELECT @@session.time_zone, @@system_time_zone, @@session.character_set_results")
        session, system, charset = map(str, cursor.fetchall()[0])
        if charset != "utf8mb4":
            _take_all_characters(connection)
        utc = (system if session == "SYSTEM" else session) in ("UTC", "+00:00", "Etc/UTC", "GMT")
        columns = _columns(cursor, statement)
        # MySQLdb and PyMySQL put parameters in with Python's %, Connector/Python looks for %s only.
        doubled = statement.parameters is not None and _package(connection) != "mysql"
        sql = _select(columns, statement, percent="%%" if doubled else "%")
        execute(cursor, sql, statement.parameters)
        types = [column.kind(UTC_TIME if utc else NAIVE_TIME) for column in columns]
        for batch in tuple_batches(cursor, statement.batch_rows, types):
            yield _named(batch, columns)
    finally:
        # The connection first: closing the cursor would read all rows that are left. PyMySQL would even try
        # to when the result is thrown away.
        result: Any = getattr(cursor, "_result", None)
        if hasattr(result, "unbuffered_active"):
            result.unbuffered_active = False
        close_quietly(connection)


def _package(connection: Any) -> str:
    return type(connection).__module__.partition(".")[0]


def _cursor(connection: Any) -> Any:
    package = _package(connection)
    if package == "MySQLdb":
        # Times and decimals as their text: Arrow parses them ten times faster than MySQLdb makes objects of
        # them.
        for code in (*_DECIMALS, *_TIMES):
            connection.converter.pop(code, None)
    if package in ("MySQLdb", "pymysql"):
        return connection.cursor(import_module(f"{package}.cursors").SSCursor)
    return connection.cursor(buffered=False, dictionary=False)


def _take_all_characters(connection: Any) -> None:
    """Let text come whole: each character that the connection's charset lacks would be a question mark."""
    if _package(connection) == "mysql":
        connection.set_charset_collation("utf8mb4")
    else:
        connection.set_character_set("utf8mb4")


def _columns(cursor: Any, statement: Statement) -> list[Column]:
    """Ask for the columns without reading rows."""
    sql = f"SELECT * FROM (\n{statement.sql}\n) AS rows_to_send LIMIT 0"
    execute(cursor, sql, statement.parameters)
    described = cursor.description or ()
    columns = [
        Column(found[0], found[1], found[3], found[5], flags)
        for found, flags in zip(described, _flags(cursor), strict=True)
    ]
    cursor.fetchall()
    return columns


def _select(columns: list[Column], statement: Statement, *, percent: str) -> str:
    # Under names of no column, so that ORDER BY means the columns and not what is made of them.
    names = {column.name for column in columns}
    prefix = "c"
    while any(f"{prefix}{number}" in names for number in range(len(columns))):
        prefix += "_"
    selected = ", ".join(f"{column.expression} AS {prefix}{n}" for n, column in enumerate(columns))
    selected = selected.replace("%", percent)
    if statement.order:
        inner, order = statement.sql, f" ORDER BY {', '.join(statement.order)}"
    else:
        inner, order = _in_its_order(statement.sql), ""
    return f"SELECT {selected} FROM (\n{inner}\n) AS rows_to_send{order}"


def _in_its_order(sql: str) -> str:
    """A query that keeps its order as a derived table: MariaDB sorts one with a limit only."""
    depth, clauses = 0, set()
    for kind, text in tokens_of(sql):
        depth += (text == "(") - (text == ")")
        if not depth and kind in Keyword:
            clauses.add(" ".join(text.upper().split()))
    return f"{sql}\nLIMIT {_NO_LIMIT}" if "ORDER BY" in clauses and "LIMIT" not in clauses else sql


def _named(batch: pa.RecordBatch, columns: list[Column]) -> pa.RecordBatch:
    arrays = [
        _shortest(values) if column.code == _FLOAT else values
        for values, column in zip(batch.columns, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])


def _shortest(values: Any) -> Any:
    """Doubles of 32-bit floats with the fewest digits that tell the float: 0.1 instead of 0.10000000149."""
    return values.cast(pa.float32()).cast(pa.string()).cast(pa.float64())


def _flags(cursor: Any) -> list[int]:
    # MySQLdb keeps them beside the description, Connector/Python in it, PyMySQL in the result.
    if hasattr(cursor, "description_flags"):
        return list(cursor.description_flags or ())
    if result := getattr(cursor, "_result", None):
        return [field.flags for field in result.fields]
    return [column[7] for column in cursor.description or ()]
