# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows of a database: the statement, its order, and the connection's life. ``cursors`` knows the drivers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import sqlparse
from sqlparse.tokens import Comment

from airflow_provider_deepchecks.exceptions import (
    DeepchecksError,
    DeepchecksSourceError,
    DeepchecksUnusableSourceError,
)
from airflow_provider_deepchecks.records.batches import bounded, fingerprint
from airflow_provider_deepchecks.records.casts.objects import first_line
from airflow_provider_deepchecks.records.sources.cursors import Statement, close_quietly, reader_of, tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

#: Rows fetched at a time by drivers that make Python objects: 20 columns of them are about 8 MB.
BATCH_ROWS: Final = 4096

#: How the databases that order for us quote a name. SQLite is not among them: its times are text or numbers,
#: and text sorts as text. Others differ too much in what they allow inside of a subquery. Their rows are
#: sorted here.
QUOTES: Final = {"postgresql": '"', "mysql": "`", "duckdb": '"'}


def open_query(
    connect: Callable[[], Any],
    sql: str,
    parameters: object | None = None,
    *,
    dialect: str = "default",
    order_by: Sequence[str] = (),
    batch_rows: int = BATCH_ROWS,
    name: str = "",
) -> QuerySource:
    """Read the rows of a query through a cursor that streams.

    PostgreSQL is read with COPY, MySQL with an unbuffered cursor, and Arrow is taken from drivers that have
    it (DuckDB, ADBC, Snowflake, Databricks, BigQuery). The connection is opened for each reading, made
    read-only where the database can do so, and closed afterwards. Session settings that change what a query
    means are left alone.

    :param connect: opens a new DB-API connection, as ``DbApiHook.get_conn`` does.
    :param sql: one SELECT, with or without a semicolon.
    :param parameters: as the driver wants them.
    :param dialect: as in ``DbApiHook.dialect_name``.
    :param order_by: columns of the result, time and id, by which the database is to sort. Where it cannot, or
        its column is no time or number, :attr:`QuerySource.ordered` is false.
    :param batch_rows: rows fetched at a time at most.
    :param name: the connection's name, for messages.
    :raises DeepchecksUnusableSourceError: ``sql`` holds several statements or none.
    """
    statement = Statement(one_statement(sql), parameters, (), batch_rows)
    label = f"the query on {name}" if name else f"the {dialect} query"
    return QuerySource(connect, statement, dialect, tuple(order_by), label)


def open_table(
    connect: Callable[[], Any],
    table: str,
    *,
    dialect: str = "default",
    order_by: Sequence[str] = (),
    batch_rows: int = BATCH_ROWS,
    name: str = "",
) -> QuerySource:
    """Read a whole table, see :func:`open_query`.

    :param table: ``name`` or ``schema.name``, quoted as the database wants it where that is needed.
    :raises DeepchecksUnusableSourceError: ``table`` is no name.
    """
    if not is_table_name(table):
        raise DeepchecksUnusableSourceError(
            f"{table!r} is no name of a table; give a query with sql= instead"
        )
    source = open_query(
        connect, f"SELECT * FROM {table}", dialect=dialect, order_by=order_by, batch_rows=batch_rows
    )
    return replace(source, description=f"table {table}" + (f" on {name}" if name else ""))


def is_table_name(table: str) -> bool:
    """Whether a text can be the name of a table, quoted or not, and not a query or more than one thing."""
    return bool(table.strip()) and not any(sign in table for sign in ";()\n") and "--" not in table


@dataclass
class QuerySource:
    """See :func:`open_query`."""

    connect: Callable[[], Any]
    statement: Statement
    dialect: str
    order_by: tuple[str, ...]
    description: str
    rereadable: bool = True
    untyped: bool = False

    @cached_property
    def ordered(self) -> bool:
        """Whether the database sorts the rows. Asks it once, without reading rows, for the types of the
        columns."""
        quote = QUOTES.get(self.dialect)
        if quote is None or not self.order_by:
            return False
        probe = replace(
            self.statement, sql=f"SELECT * FROM (\n{self.statement.sql}\n) AS rows_to_send LIMIT 0"
        )
        schema = next(iter(self._read(probe))).schema
        # A column that is not there is for the checks to name; they know all that are wanted.
        return set(self.order_by) <= set(schema.names) and _sorts(schema.field(self.order_by[0]).type)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See :class:`~airflow_provider_deepchecks.records.sources.source.Source`."""
        statement = self.statement
        if self.ordered:
            statement = replace(statement, order=order_terms(self.dialect, self.order_by))
        return bounded(self._read(statement), self.description)

    def _read(self, statement: Statement) -> Generator[pa.RecordBatch]:
        connection: Any = None
        batches: Any = None
        try:
            try:
                connection = self.connect()
                batches = reader_of(connection)(connection, statement)
            except Exception as error:
                raise self._error("connecting", error) from None
            while True:
                try:
                    batch = next(batches, None)
                except Exception as error:
                    raise self._error("reading", error) from None
                if batch is None:
                    return
                yield batch
        finally:
            # The reader first: a thread of it may be using the connection, and drivers do not survive that.
            close_quietly(batches)
            close_quietly(connection)

    def _error(self, doing: str, error: Exception) -> DeepchecksError:
        where = f"{self.description[:1].upper()}{self.description[1:]} ({self.dialect})"
        if isinstance(error, DeepchecksSourceError):
            return type(error)(f"{where}: {error}")
        if isinstance(error, DeepchecksError):
            return error
        # Without the cause: the messages of some drivers go on with the statement and its parameters.
        kind = f"{type(error).__module__.partition('.')[0]}.{type(error).__qualname__}"
        told, hint = first_line(error), ""
        if isinstance(error, KeyError):  # what psycopg2, PyMySQL and MySQLdb say of a name in the query
            hint = "; sql_parameters= does not have this name"
        elif "syntax" in told and self.dialect in QUOTES:
            # The database may complain of what is around the query.
            hint = "; the query must be one SELECT, since it is read by SELECT * FROM (...)"
        return DeepchecksSourceError(f"{where} failed in {doing}: {kind}: {told}{hint}")

    def in_order(self, time: str, sample_id: str, *, naive_is_utc: bool) -> bool:
        """False: to know it takes reading everything."""
        return False

    def fingerprint(self) -> str:
        """The statement, its parameters and its order. What the tables hold is not part of it."""
        return fingerprint(
            "query", self.dialect, self.statement.sql, self.statement.parameters, self.order_by
        )


def one_statement(sql: str) -> str:
    """Take the one statement out of a text, without its semicolon and what follows it.

    :raises DeepchecksUnusableSourceError: there are several statements, or none.
    """
    statements = [found for found in map(_without_end, sqlparse.split(sql)) if found]
    if len(statements) != 1:
        raise DeepchecksUnusableSourceError(
            f"The SQL must be one SELECT; {len(statements)} statements were found"
        )
    return statements[0]


def _without_end(sql: str) -> str:
    tokens = list(tokens_of(sql))
    while tokens and (tokens[-1][1].strip() in ("", ";") or tokens[-1][0] in Comment):
        tokens.pop()
    return "".join(text for _, text in tokens).strip()


def order_terms(dialect: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Write the terms of ORDER BY.

    :param columns: time, then id. Ids are compared byte by byte in the end, since two that a collation takes
        for equal could change places from one reading to the next.
    """
    quote = QUOTES[dialect]
    terms = [quote + column.replace(quote, 2 * quote) + quote for column in columns]
    if dialect == "mysql":
        terms += [f"CAST({term} AS BINARY)" for term in terms[1:]]
    return tuple(terms)


def _sorts(kind: pa.DataType) -> bool:
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(number or pa.types.is_temporal(kind))
