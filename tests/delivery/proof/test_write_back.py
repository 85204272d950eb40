# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The table of statuses, in the databases that people have."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from airflow_provider_deepchecks.delivery.proof.write_back import Status, StatusTable
from airflow_provider_deepchecks.exceptions import DeepchecksConfigError, DeepchecksWriteBackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.services import Service

SERVERS = ["psycopg2", "psycopg", "pymysql", "mysqlclient", "mysql-connector"]
DRIVERS = ["sqlite3", "duckdb", "plain", *SERVERS]

#: Ids that a database may take for one another, or cannot take by itself.
IDS = ["a", "A", "a ", "ä", "☃😀", "é" * 1_000, "i" * 2_000]


class Plain:
    """A connection whose driver is not known here: SQLite's, in other clothes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class Database:
    """A database with a table's name of its own in it."""

    def __init__(self, connect: Callable[[], Any], placeholder: str) -> None:
        self.connect = connect
        self.placeholder = placeholder
        self.table = f"rows_{uuid.uuid4().hex}"

    def of(self, run: str = "d/t/r", table: str | None = None) -> StatusTable:
        return StatusTable(
            self.connect, table or self.table, run, placeholder=self.placeholder, conn_id="warehouse"
        )

    def read(self, run: str = "d/t/r") -> list[tuple[Any, ...]]:
        """The rows of a run: the runs are told apart here, not by the database."""
        with closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"SELECT id, status, reason, run FROM {self.table}")
            return [tuple(row[:3]) for row in cursor.fetchall() if row[3] == run]


def server(service: Service) -> dict[str, Any]:
    return {
        "host": service.host,
        "port": service.port,
        "user": service.user,
        "password": service.password,
    }


@pytest.fixture(params=DRIVERS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    path = str(tmp_path / "rows.db")
    if request.param == "sqlite3":
        return Database(lambda: sqlite3.connect(path), "?")
    if request.param == "plain":
        return Database(lambda: Plain(sqlite3.connect(path)), "?")
    if request.param == "duckdb":
        return Database(lambda: duckdb.connect(path), "?")
    if request.param in ("psycopg2", "psycopg"):
        postgres: Service = request.getfixturevalue("postgres_server")
        driver: Any = import_module(request.param)
        return Database(lambda: driver.connect(**server(postgres), dbname=postgres.database), "%s")
    mysql: Service = request.getfixturevalue("mysql_server")
    modules = {"pymysql": "pymysql", "mysqlclient": "MySQLdb", "mysql-connector": "mysql.connector"}
    driver = import_module(modules[request.param])
    more = {"charset": "utf8mb4"}
    return Database(lambda: driver.connect(**server(mysql), database=mysql.database, **more), "%s")


def waiting(ids: list[str]) -> list[tuple[str | None, str, str | None]]:
    return [(sample_id, "waiting", None) for sample_id in ids]


def test_the_rows_of_a_run_are_replaced(database: Database) -> None:
    rows = [*waiting(IDS), (None, "quarantined", "id: sample id is missing; p: value is missing")]
    rows += waiting([f"s{number}" for number in range(450)])
    database.of().replace(rows)
    assert sorted(database.read(), key=str) == sorted(rows, key=str)
    others = {run: [(run, "waiting", None)] for run in ("D/T/R", "d/t/r ", "d/t/r/1")}
    for run, row in others.items():
        database.of(run).replace(row)
    database.of().replace(rows[:2])
    assert sorted(database.read()) == sorted(rows[:2])
    database.of().replace([])
    assert database.read() == []
    assert {run: database.read(run) for run in others} == others


def test_a_table_of_something_else_is_refused(database: Database) -> None:
    with closing(database.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE TABLE {database.table} (id VARCHAR(10), Reason VARCHAR(10), age INT)")
        connection.commit()
    with pytest.raises(DeepchecksConfigError) as told:
        database.of().check()
    assert f"status_table={database.table} on warehouse" in str(told.value)
    assert "lacks 'run', 'status' and has 'id'" in str(told.value)


def test_a_table_that_is_not_there_yet_or_was_written_before_is_fine(database: Database) -> None:
    database.of().check()
    database.of().replace(waiting(["a"]))
    database.of().check()
    assert database.read() == waiting(["a"])


def test_waiting_rows_are_stored_but_for_those_that_are_told(database: Database) -> None:
    twice = ("a", "quarantined", "sample id twice in this run")
    database.of().replace([*waiting(IDS), twice, ("r", "refused", "HTTP 500")])
    database.of("other").replace(waiting(IDS))
    database.of().settle(
        [
            (Status.REFUSED, "wrong; late", ["a", "é" * 1_000, "r", "not ours"]),
            (Status.STORED, "label: wrong", ["a", "ä"]),
        ]
    )
    expected: dict[str, tuple[str, str | None]] = dict.fromkeys(IDS, ("stored", None))
    expected |= {"ä": ("stored", "label: wrong"), "r": ("refused", "HTTP 500")}
    expected |= dict.fromkeys(["a", "é" * 1_000], ("refused", "wrong; late"))
    found = database.read()
    assert twice in found
    found.remove(twice)
    assert len(found) == len(expected)
    assert {row[0]: row[1:] for row in found} == expected
    assert sorted(database.read("other")) == sorted(waiting(IDS))
    database.of("other").settle([])
    assert {row[1] for row in database.read("other")} == {"stored"}


def test_what_breaks_off_changes_nothing(database: Database) -> None:
    database.of().replace(waiting(["before"]))

    def broken() -> Iterator[tuple[str, str, None]]:
        yield from ((f"s{number}", "waiting", None) for number in range(300))
        raise OSError("no more")

    with pytest.raises(DeepchecksWriteBackError, match="The rows were sent") as error:
        database.of().replace(broken())
    for part in (f"status_table={database.table} on warehouse", "no more", "Run the task again"):
        assert part in str(error.value)
    assert database.read() == waiting(["before"])

    def told() -> Iterator[Any]:
        yield Status.REFUSED, "wrong", ["before"]
        raise OSError("no more")

    with pytest.raises(DeepchecksWriteBackError):
        database.of().settle(told())
    assert database.read() == waiting(["before"])


def test_a_table_of_the_users_own_is_taken(database: Database) -> None:
    """With other columns besides, in another order."""
    with closing(database.connect()) as connection:
        connection.cursor().execute(
            f"CREATE TABLE {database.table} (run VARCHAR(500), note VARCHAR(9), reason TEXT, "
            "status VARCHAR(30), id VARCHAR(500))"
        )
        connection.commit()
    database.of().replace(waiting(["a", "b"]))
    database.of().settle([(Status.REFUSED, "wrong", ["b"])])
    assert sorted(database.read()) == [("a", "stored", None), ("b", "refused", "wrong")]


@pytest.mark.parametrize("database", SERVERS, indirect=True)
def test_tasks_that_write_at_once_do_not_disturb_each_other(database: Database) -> None:
    database.of("first").replace([])
    errors: list[Exception] = []

    def write(run: str) -> None:
        try:
            for _ in range(10):
                database.of(run).replace(waiting([f"{run}{number}" for number in range(250)]))
                database.of(run).settle([(Status.REFUSED, "wrong", [f"{run}7"])])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(f"run/{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for number in range(4):
        rows = database.read(f"run/{number}")
        assert (len(rows), sum(row[1] == "refused" for row in rows)) == (250, 1)


def test_who_may_not_make_tables_can_write_them(postgres_server: Service) -> None:
    import psycopg2

    def connect(user: str) -> Any:
        who = {**server(postgres_server), "user": user}
        return psycopg2.connect(**who, dbname=postgres_server.database)

    name = f"writer_{uuid.uuid4().hex[:8]}"
    with closing(connect(postgres_server.user)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN")
        cursor.execute(f"CREATE SCHEMA {name}")
        cursor.execute(f"GRANT USAGE ON SCHEMA {name} TO {name}")
        cursor.execute(f'CREATE TABLE {name}."My Rows" (id TEXT, status TEXT, reason TEXT, run TEXT)')
        cursor.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON {name}."My Rows" TO {name}')
        connection.commit()
    database = Database(lambda: connect(name), "%s")
    database.table = f'{name}."My Rows"'
    database.of().replace(waiting(["a"]))
    assert database.read() == waiting(["a"])
    with pytest.raises(DeepchecksWriteBackError) as error:
        database.of(table=f"{name}.others").replace(waiting(["a"]))
    assert "does not exist" in str(error.value)
    assert "It could not be made either: psycopg2.InsufficientPrivilege" in str(error.value)


def test_no_connection_is_said_without_what_the_driver_adds() -> None:
    def connect() -> Any:
        raise OSError("no route\nINSERT INTO secrets")

    table = StatusTable(connect, "t", "r", placeholder="?", conn_id="warehouse")
    for action in (lambda: table.replace([]), lambda: table.settle([])):
        with pytest.raises(DeepchecksWriteBackError) as error:
            action()
        assert "no route" in str(error.value)
        assert "secrets" not in str(error.value)
        assert error.value.retryable


@pytest.mark.parametrize("name", ["", " ", "t; DROP TABLE x", "(SELECT 1)", "a -- b", "a\nb"])
def test_what_is_no_name_of_a_table_is_refused(name: str) -> None:
    with pytest.raises(DeepchecksConfigError, match="status_table="):
        StatusTable(lambda: None, name, "r", placeholder="?", conn_id="c")


def test_the_receipt_can_name_it() -> None:
    table = StatusTable(lambda: None, "s.t", "d/t/r", placeholder="?", conn_id="c")
    assert table.to_dict() == {"table": "s.t", "conn_id": "c", "run": "d/t/r"}
