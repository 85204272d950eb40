# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A table of a database with the status of each row read: ``id``, ``status``, ``reason``, ``run``.

The rows of a run are written in one transaction, so the table never shows a part of them, and writing them
again replaces them.
"""

from __future__ import annotations

import contextlib
import logging
from contextlib import closing
from enum import StrEnum
from hashlib import sha1
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError, DeepchecksWriteBackError
from airflow_provider_deepchecks.records.casts.objects import first_line
from airflow_provider_deepchecks.records.columns import named
from airflow_provider_deepchecks.records.sources.cursors import close_quietly, drivers_of
from airflow_provider_deepchecks.records.sources.tables import is_table_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

log = logging.getLogger(__name__)

#: Rows that go to the database at once.
_ROWS = 200
_MYSQL = frozenset({"mysqldb", "pymysql", "mysql"})
#: Drivers of databases that take many rows in one INSERT: faster than ``executemany``, which psycopg2 and
#: DuckDB turn into one statement a row (measured: 3 and 9 times as fast with the server next door).
_MANY_VALUES = frozenset({"psycopg", "psycopg2", "sqlite3", "duckdb"}) | _MYSQL
#: What begins a transaction where the driver does not do so by itself.
_BEGIN = {"duckdb": "BEGIN TRANSACTION", "sqlite3": "BEGIN IMMEDIATE"}
#: MySQL locks rows of other runs as well where it scans the table, and ends one of two tasks that do so at
#: once: they take turns, until the connection is closed or an hour is over.
_TAKE_TURNS = "DO GET_LOCK('deepchecks-{table}', 3600)"


class Status(StrEnum):
    """Where a row is."""

    #: In Deepchecks, whichever run sent it.
    STORED = "stored"
    #: The server refused it.
    REFUSED = "refused"
    #: The checks kept it out.
    QUARANTINED = "quarantined"
    #: Sent, and not yet proven to be in.
    WAITING = "waiting"


#: What the table holds of a row.
_COLUMNS = ("id", "status", "reason", "run")
#: Id, status and reason of a row.
StatusRow: TypeAlias = tuple[str | None, str, str | None]
#: Status, reason, and the ids of rows that have them.
Told: TypeAlias = "tuple[Status, str, Sequence[str]]"


class StatusTable:
    """The status table of one run.

    :param connect: opens a DB-API connection that does not commit by itself.
    :param table: its name, ``name`` or ``schema.name``, quoted as the database wants it where that is needed.
    :param run: names the run.
    :param placeholder: for parameters, as the driver wants it.
    :param conn_id: names the connection.
    :raises DeepchecksConfigError: ``table`` is no name.
    """

    def __init__(
        self, connect: Callable[[], Any], table: str, run: str, *, placeholder: str, conn_id: str
    ) -> None:
        if not is_table_name(table):
            raise DeepchecksConfigError(f"status_table={table!r} is no name of a table.")
        self._connect = connect
        self._table = table
        self._run = run
        self._placeholder = placeholder
        self._conn_id = conn_id

    def to_dict(self) -> dict[str, str]:
        """Plain JSON for the receipt."""
        return {"table": self._table, "conn_id": self._conn_id, "run": self._run}

    def check(self) -> None:
        """Refuse a table of something else, before a row is sent. One that is not there yet is made later.

        A database that does not answer is no reason to send nothing: it may when the rows are in.

        :raises DeepchecksConfigError: the table is there, without the columns of a status table.
        """
        connection: Any = None
        try:
            connection = self._connect()
            # No transaction as for writing, whose locks could wait for other runs.
            with closing(connection.cursor()) as cursor:
                cursor.execute(f"SELECT * FROM {self._table} WHERE 1 = 0")
                found = [column[0] for column in cursor.description]
                cursor.fetchall()
        except Exception as error:  # each driver has errors of its own; mostly the table is not there yet
            log.debug("The table %s cannot be looked at: %s", self._table, first_line(error))
            return
        finally:
            close_quietly(connection)
        if lacking := set(_COLUMNS) - {str(name).lower() for name in found}:
            raise DeepchecksConfigError(
                f"status_table={self._table} on {self._conn_id} is a table of something else: it lacks "
                f"{named(sorted(lacking))} and has {named(found)}. Name another table; one that is not there "
                "is made."
            )

    def replace(self, rows: Iterable[StatusRow]) -> None:
        """Write the rows of the run in place of those that it has. The table is made if it is not there.

        :raises DeepchecksWriteBackError: the database does not take them.
        """
        with self._connected() as connection:
            refusal = self._make(connection)
            try:
                with _transaction(connection, self._table) as cursor:
                    where, parameters = self._of_this_run(connection)
                    cursor.execute(f"DELETE FROM {self._table} WHERE {where}", parameters)
                    self._insert(connection, cursor, rows)
            except Exception as error:
                if refusal is None:
                    raise
                raise _UnmadeTableError(f"{_said(error)} (It could not be made either: {refusal})") from None

    def settle(self, told: Iterable[Told]) -> None:
        """The rows of the run that were waiting are stored, except for those that are told.

        :param told: rows with a status of their own; of several for one row the first counts.
        :raises DeepchecksWriteBackError: the database does not take it.
        """
        with self._connected() as connection, _transaction(connection, self._table) as cursor:
            where, run = self._of_this_run(connection)
            mark, waiting = self._placeholder, Status.WAITING.value
            exact, exact_mark = _exact("id", connection), _exact(mark, connection)
            for status, reason, ids in told:
                marks = ", ".join([exact_mark] * len(ids))
                cursor.execute(
                    f"UPDATE {self._table} SET status = {mark}, reason = {mark} "
                    f"WHERE {where} AND status = {mark} AND {exact} IN ({marks})",
                    [status.value, reason, *run, waiting, *ids],
                )
            cursor.execute(
                f"UPDATE {self._table} SET status = {mark} WHERE {where} AND status = {mark}",
                [Status.STORED.value, *run, waiting],
            )

    def error(self, cause: str) -> DeepchecksWriteBackError:
        """The error of a table that could not be written."""
        return DeepchecksWriteBackError(
            f"The rows were sent, but their status could not be written to status_table={self._table} on "
            f"{self._conn_id}: {cause.rstrip('.')}. Run the task again when that is mended: rows that are in "
            "stay as they are, and the table is written anew."
        )

    # -- statements ------------------------------------------------------------------------------------------

    def _make(self, connection: Any) -> str | None:
        """Make the table if it is not there; why not, when the database refuses (it may be there)."""
        # Ids have up to 2,000 bytes. MySQL's own character set need not take them, and takes a for A.
        index, text = "", ""
        if _MYSQL & drivers_of(connection):
            index = ", INDEX (run(191))"
            text = " DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        try:
            with _transaction(connection, self._table) as cursor:
                cursor.execute(
                    f"CREATE TABLE IF NOT EXISTS {self._table} (id VARCHAR(2000), status VARCHAR(16), "
                    f"reason TEXT, run VARCHAR(1000){index}){text}"
                )
        except Exception as error:  # each driver has errors of its own
            log.info("The table %s was not made: %s", self._table, first_line(error))
            return _said(error)
        return None

    def _insert(self, connection: Any, cursor: Any, rows: Iterable[StatusRow]) -> None:
        one = f"({', '.join([self._placeholder] * 4)})"
        into = f"INSERT INTO {self._table} ({', '.join(_COLUMNS)}) VALUES "
        at_once = bool(_MANY_VALUES & drivers_of(connection))
        rows = iter(rows)
        while some := [(*row, self._run) for row in islice(rows, _ROWS)]:
            if at_once:
                values = [value for row in some for value in row]
                cursor.execute(into + ", ".join([one] * len(some)), values)
            else:
                cursor.executemany(into + one, some)

    def _of_this_run(self, connection: Any) -> tuple[str, list[str]]:
        """The condition for the rows of this run, with its parameters."""
        where, exact = f"run = {self._placeholder}", _exact("run", connection)
        if exact == "run":
            return where, [self._run]
        return f"{where} AND {exact} = {_exact(self._placeholder, connection)}", [self._run, self._run]

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        connection: Any = None
        try:
            connection = self._connect()
            yield connection
        except Exception as error:
            # Without the cause: the messages of some drivers go on with the statement and its parameters.
            said = str(error) if isinstance(error, _UnmadeTableError) else _said(error)
            raise self.error(said) from None
        finally:
            close_quietly(connection)


class _UnmadeTableError(Exception):
    """The rows were not taken by a table that could not be made; with what the database said of both."""


def _said(error: Exception) -> str:
    return f"{type(error).__module__.partition('.')[0]}.{type(error).__qualname__}: {first_line(error)}"


@contextlib.contextmanager
def _transaction(connection: Any, table: str) -> Iterator[Any]:
    """A cursor whose statements count together or not at all."""
    drivers = drivers_of(connection)
    # A cursor of DuckDB is a connection with transactions of its own.
    cursor = connection if "duckdb" in drivers else connection.cursor()
    try:
        for driver in drivers & _BEGIN.keys():
            cursor.execute(_BEGIN[driver])
        if drivers & _MYSQL:
            name = sha1(table.encode(), usedforsecurity=False).hexdigest()
            with contextlib.suppress(Exception):  # not all that speaks MySQL has it
                cursor.execute(_TAKE_TURNS.format(table=name))
        yield cursor
        connection.commit()
    except BaseException:
        with contextlib.suppress(Exception):
            connection.rollback()
        raise


def _exact(text: str, connection: Any) -> str:
    """A text as it is compared: MySQL takes ``a`` for ``A`` and for ``a`` with a space, but for bytes."""
    return f"CAST(CONVERT({text} USING utf8mb4) AS BINARY)" if _MYSQL & drivers_of(connection) else text
