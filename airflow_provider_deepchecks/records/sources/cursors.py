# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""How database drivers stream rows. Those of PostgreSQL, MySQL and SQLite have modules of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from importlib import import_module
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlparse import lexer

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.batches import Meanings, no_rows, relation_reader
from airflow_provider_deepchecks.records.sources.rows import tuple_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Batches = Generator[pa.RecordBatch, None, None]


@dataclass(frozen=True)
class Statement:
    """What to read.

    :param sql: one SELECT without a semicolon.
    :param parameters: as the driver wants them; None for none, and then ``%`` means itself.
    :param order: terms of ORDER BY.
    :param batch_rows: rows to fetch at a time at most.
    """

    sql: str
    parameters: Any = field(repr=False)
    order: tuple[str, ...]
    batch_rows: int

    @property
    def text(self) -> str:
        """The SQL with its order. The line breaks keep a comment at the end from swallowing what follows."""
        if not self.order:
            return self.sql
        return f"SELECT * FROM (\n{self.sql}\n) AS rows_to_send ORDER BY {', '.join(self.order)}"


#: Reads the rows of a statement from a connection.
Reader = Callable[[Any, Statement], Batches]


def drivers_of(connection: Any) -> set[str]:
    """Names of the packages that a connection's classes come from, in small letters."""
    return {cls.__module__.partition(".")[0].lstrip("_").lower() for cls in type(connection).__mro__}


def reader_of(connection: Any) -> Reader:
    """Choose how to read from a connection, by its driver."""
    # Drivers' modules are loaded by whoever made the connection; ours only when needed.
    packages = drivers_of(connection)
    modules = {
        "psycopg": "postgres",
        "psycopg2": "postgres",
        "mysqldb": "mysql",
        "pymysql": "mysql",
        "mysql": "mysql",
        "sqlite3": "sqlite",
    }
    if "duckdb" in packages:
        return read_duckdb
    for package, module in modules.items():
        if package in packages:
            reader: Reader = import_module(f"airflow_provider_deepchecks.records.sources.{module}").read
            return reader
    return read_any


def tokens_of(sql: str) -> Iterator[tuple[Any, str]]:
    """The kinds and texts of what a statement consists of.

    Not by ``sqlparse.parse``, which refuses a statement of more than 10,000: a list of ids makes them.
    """
    tokenize: Any = lexer.tokenize
    yield from tokenize(sql)


def execute(cursor: Any, sql: str, parameters: Any = None) -> None:
    """Execute with parameters only when there are any: drivers read ``%`` and ``:`` in the SQL otherwise."""
    if parameters is None:
        cursor.execute(sql)
    else:
        cursor.execute(sql, parameters)


def close_quietly(resource: Any) -> None:
    """Close a connection whose rows have been read, or whose error is on its way to the user already."""
    if resource is not None:
        with contextlib.suppress(Exception):
            resource.close()


# -- drivers without an entry of their own -------------------------------------------------------------------


def read_any(connection: Any, statement: Statement) -> Batches:
    """Read from any DB-API driver: as Arrow where its cursor has that, by ``fetchmany`` otherwise."""
    cursor = connection.cursor()
    try:
        # Several drivers (Oracle, ODBC) take from it how many rows to bring over the wire at a time.
        cursor.arraysize = statement.batch_rows
        execute(cursor, statement.text, statement.parameters)
        arrow = _arrow(cursor, statement.batch_rows)
        if arrow is None:
            yield from tuple_batches(cursor, statement.batch_rows)
        else:
            names = [column[0] for column in cursor.description or ()]
            yield from one_meaning(arrow, names)
    finally:
        close_quietly(cursor)


def _arrow(cursor: Any, rows: int) -> Iterator[pa.RecordBatch] | None:
    if hasattr(cursor, "fetch_record_batch"):  # ADBC
        return _from_tables([cursor.fetch_record_batch()])
    if hasattr(cursor, "fetch_arrow_batches"):  # Snowflake
        return _snowflake_tables(cursor)
    if hasattr(cursor, "fetchmany_arrow"):  # Databricks
        return _from_tables(_until_empty(lambda: cursor.fetchmany_arrow(rows)))
    if (job := _bigquery_job(cursor)) is not None:  # over its storage API where that is installed
        return _from_tables([job.result().to_arrow_iterable()])
    return None


def _snowflake_tables(cursor: Any) -> Iterator[pa.RecordBatch] | None:
    try:
        tables = iter(cursor.fetch_arrow_batches())
        first = list(islice(tables, 1))
    except Exception as error:
        # Results of some statements, and of sessions set up so, come as JSON.
        if type(error).__name__ == "NotSupportedError":
            return None
        raise
    return _from_tables(chain(first, tables))


def _bigquery_job(cursor: Any) -> Any:
    if hasattr(cursor, "job_id") and hasattr(getattr(cursor, "hook", None), "get_job"):
        # Airflow's own cursor, whose tuples have floats for times and text for numerics.
        return cursor.hook.get_job(
            job_id=cursor.job_id, project_id=cursor.project_id, location=cursor.location
        )
    return getattr(cursor, "query_job", None)


def _until_empty(fetch: Callable[[], Any]) -> Iterator[Any]:
    while (table := fetch()).num_rows:
        yield table
    yield table


def _from_tables(parts: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        if isinstance(part, pa.RecordBatch):
            yield part
        elif isinstance(part, pa.Table):
            yield from part.to_batches() or [no_rows(part.schema)]
        elif isinstance(part, pa.RecordBatchReader):
            schema, first = part.schema, True
            for batch in part:
                yield batch
                first = False
            if first:
                yield no_rows(schema)
        else:
            yield from _from_tables(part)


def one_meaning(batches: Iterable[pa.RecordBatch], names: Iterable[str]) -> Batches:
    """See to it that the columns mean the same in all batches, and that at least one batch comes.

    Whole numbers get 64 bits: Snowflake chooses their width anew for each of its batches.

    :param names: columns, in case that no batch comes.
    """
    meanings, empty = Meanings(), True
    for number, batch in enumerate(batches):
        meanings.check(batch.schema, f"in batch {number}", "CAST it in the query")
        fields = [pa.field(f.name, _wide(f.type), metadata=f.metadata) for f in batch.schema]
        columns = [
            column if column.type == f.type else column.cast(f.type)
            for column, f in zip(batch.columns, fields, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
        empty = False
    if empty:
        yield no_rows(pa.schema([(name, pa.null()) for name in names]))


def _wide(kind: pa.DataType) -> pa.DataType:
    return pa.int64() if pa.types.is_integer(kind) and not pa.types.is_uint64(kind) else kind


# -- DuckDB --------------------------------------------------------------------------------------------------


def read_duckdb(connection: Any, statement: Statement) -> Batches:
    """Read Arrow from a relation, which streams; DuckDB's DB-API result would hold a copy of all rows."""
    options = {} if statement.parameters is None else {"params": statement.parameters}
    relation = connection.sql(statement.text, **options)
    if relation is None:
        raise DeepchecksSourceError("The statement gives no rows; it must be a SELECT")
    yield from _from_tables([relation_reader(relation, statement.batch_rows)])
