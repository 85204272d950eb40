# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The state of the stand-in, in SQLite: in memory, or in a file that survives a restart.

One connection, used from one thread (the server's event loop). Times are integer microseconds since 1970
(UTC), rows and labels are JSON texts as they came.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: start_time and end_time of a version without rows, as the server gives them.
NO_START = 32_503_680_000_000_000  # 3000-01-01
NO_END = 0  # 1970-01-01

_TABLES = """
CREATE TABLE IF NOT EXISTS models (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, task_type TEXT, description TEXT,
    alerts_delay_labels_ratio REAL, alerts_delay_seconds INTEGER, obj_store_path TEXT,
    start_time INTEGER, end_time INTEGER);
CREATE TABLE IF NOT EXISTS versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model_id INTEGER REFERENCES models ON DELETE CASCADE, name TEXT,
    definition TEXT, statistics TEXT, start_time INTEGER, end_time INTEGER, last_update INTEGER,
    topic_end INTEGER DEFAULT -1, ingested INTEGER DEFAULT -1, UNIQUE (model_id, name));
CREATE TABLE IF NOT EXISTS samples (
    version_id INTEGER REFERENCES versions ON DELETE CASCADE, sample_id TEXT, time INTEGER, row TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS samples_by_id ON samples (version_id, sample_id);
CREATE INDEX IF NOT EXISTS samples_by_time ON samples (version_id, time, sample_id);
CREATE TABLE IF NOT EXISTS labels (
    model_id INTEGER REFERENCES models ON DELETE CASCADE, sample_id TEXT, label TEXT,
    PRIMARY KEY (model_id, sample_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reference_rows (
    version_id INTEGER REFERENCES versions ON DELETE CASCADE, row TEXT);
CREATE INDEX IF NOT EXISTS reference_by_version ON reference_rows (version_id);
CREATE TABLE IF NOT EXISTS errors (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model_id INTEGER REFERENCES models ON DELETE CASCADE,
    version_id INTEGER REFERENCES versions ON DELETE CASCADE, sample_id TEXT, error TEXT, sample TEXT,
    created_at INTEGER);
CREATE INDEX IF NOT EXISTS errors_by_model ON errors (model_id, created_at);
CREATE INDEX IF NOT EXISTS errors_by_version ON errors (version_id, created_at);
CREATE TABLE IF NOT EXISTS topics (name TEXT PRIMARY KEY, next INTEGER DEFAULT 0, consumed INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS messages (
    topic TEXT, position INTEGER, payload TEXT, PRIMARY KEY (topic, position)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Model:
    """A model; its times are those of all rows it ever got, None before the first."""

    id: int
    name: str
    task_type: str
    description: str | None
    alerts_delay_labels_ratio: float
    alerts_delay_seconds: int
    obj_store_path: str | None
    start_time: int | None
    end_time: int | None


@dataclass(frozen=True)
class Version:
    """A version. ``topic_end`` and ``ingested`` are what the consumer wrote at its last successful poll."""

    id: int
    model_id: int
    name: str
    start_time: int
    end_time: int
    last_update: int
    topic_end: int
    ingested: int
    statistics: dict[str, Any]
    features: dict[str, str]
    additional_data: dict[str, str]
    classes: list[str] | None
    label_map: dict[str, str] | None
    feature_importance: dict[str, float] | None

    @property
    def pending_rows(self) -> int:
        """Rows the server believes to be still on their way."""
        return self.topic_end - self.ingested


@dataclass(frozen=True)
class ErrorRow:
    """An ingestion error."""

    id: int
    version_id: int | None
    sample_id: str | None
    error: str
    sample: str
    created_at: int


class Storage:
    """All reads and writes.

    :param database: SQLite file, or ``:memory:``.
    """

    def __init__(self, database: str) -> None:
        # The server's thread uses it; it is made and closed by the thread that owns the server.
        self.connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        self.connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
        )
        self.connection.executescript(_TABLES)

    def close(self) -> None:
        """Close the database."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def _one(self, sql: str, *arguments: Any) -> Any:
        row = self.connection.execute(sql, arguments).fetchone()
        return row[0] if row else None

    # -- models ---------------------------------------------------------------------------------------------

    def add_model(
        self,
        name: str,
        task_type: str,
        description: str | None,
        ratio: float,
        seconds: int,
        store: str | None,
    ) -> int:
        """Make a model; its id comes back."""
        cursor = self.connection.execute(
            "INSERT INTO models VALUES (NULL, ?, ?, ?, ?, ?, ?, NULL, NULL)",
            (name, task_type, description, ratio, seconds, store),
        )
        return int(cursor.lastrowid or 0)

    def models(self) -> list[Model]:
        """All models."""
        return [Model(*row) for row in self.connection.execute("SELECT * FROM models ORDER BY id")]

    def model(self, *, id: int | None = None, name: str | None = None) -> Model | None:
        """A model by id or by name."""
        row = self.connection.execute("SELECT * FROM models WHERE id = ? OR name = ?", (id, name)).fetchone()
        return Model(*row) if row else None

    def delete_model(self, model_id: int) -> None:
        """Delete a model and all that belongs to it."""
        self.connection.execute("DELETE FROM models WHERE id = ?", (model_id,))

    # -- versions -------------------------------------------------------------------------------------------

    def add_version(
        self, model_id: int, name: str, definition: dict[str, Any], statistics: dict[str, Any], now: int
    ) -> int:
        """Make a version; its id comes back."""
        cursor = self.connection.execute(
            "INSERT INTO versions (model_id, name, definition, statistics, start_time, end_time, last_update)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (model_id, name, json.dumps(definition), json.dumps(statistics), NO_START, NO_END, now),
        )
        return int(cursor.lastrowid or 0)

    def versions(self, model_id: int) -> list[Version]:
        """The versions of a model."""
        return self._versions("model_id = ? ORDER BY id", model_id)

    def version(self, version_id: int) -> Version | None:
        """A version by id."""
        found = self._versions("id = ?", version_id)
        return found[0] if found else None

    def version_by_name(self, model_id: int, name: str) -> Version | None:
        """A version by its name in a model."""
        found = self._versions("model_id = ? AND name = ?", model_id, name)
        return found[0] if found else None

    def _versions(self, where: str, *arguments: Any) -> list[Version]:
        cursor = self.connection.execute(f"SELECT * FROM versions WHERE {where}", arguments)
        names = [column[0] for column in cursor.description]
        found = []
        for row in cursor:
            values = dict(zip(names, row, strict=True))
            values["statistics"] = json.loads(values["statistics"])
            values |= json.loads(values.pop("definition"))
            found.append(Version(**values))
        return found

    def delete_version(self, version_id: int) -> None:
        """Delete a version and its rows."""
        self.connection.execute("DELETE FROM versions WHERE id = ?", (version_id,))

    def rows_came(self, version: Version, statistics: dict[str, Any], first: int, last: int) -> None:
        """Widen the times of a version and of its model."""
        self.connection.execute(
            "UPDATE versions SET statistics = ?, start_time = min(start_time, ?), end_time = max(end_time, ?)"
            " WHERE id = ?",
            (json.dumps(statistics), first, last, version.id),
        )
        self.connection.execute(
            "UPDATE models SET start_time = min(coalesce(start_time, ?1), ?1),"
            " end_time = max(coalesce(end_time, ?2), ?2) WHERE id = ?3",
            (first, last, version.model_id),
        )

    def touch(self, version_id: int, now: int) -> None:
        """Set the time of the last update."""
        self.connection.execute("UPDATE versions SET last_update = ? WHERE id = ?", (now, version_id))

    def write_offsets(self, version_id: int, topic_end: int, ingested: int, now: int) -> None:
        """What the pending rows are counted from."""
        self.connection.execute(
            "UPDATE versions SET topic_end = ?, ingested = ?, last_update = ? WHERE id = ?",
            (topic_end, ingested, now, version_id),
        )

    # -- samples --------------------------------------------------------------------------------------------

    def stored_ids(self, version_id: int, sample_ids: Iterable[str]) -> set[str]:
        """Which of these ids the version holds."""
        rows = self.connection.execute(
            "SELECT sample_id FROM samples"
            " WHERE version_id = ? AND sample_id IN (SELECT value FROM json_each(?))",
            (version_id, json.dumps(list(sample_ids))),
        )
        return {row[0] for row in rows}

    def add_samples(self, version_id: int, rows: Iterable[tuple[str, int, str]]) -> None:
        """Store rows (id, time, JSON) whose ids are new.

        :raises UnicodeEncodeError: when a text cannot be stored.
        """
        self.connection.executemany(f"INSERT INTO samples VALUES ({int(version_id)}, ?, ?, ?)", rows)

    def count_samples(self, version_id: int) -> int:
        """Rows of a version."""
        return int(self._one("SELECT count(*) FROM samples WHERE version_id = ?", version_id))

    def count_model(self, model_id: int) -> tuple[int, int]:
        """Rows of all versions of a model, and how many of them have a label, null labels included."""
        samples, labels = 0, 0
        for version in self.versions(model_id):
            samples += self.count_samples(version.id)
            labels += int(
                self._one(
                    "SELECT count(*) FROM samples s"
                    " JOIN labels l ON l.model_id = ? AND l.sample_id = s.sample_id WHERE s.version_id = ?",
                    model_id,
                    version.id,
                )
            )
        return samples, labels

    def count_window(self, version: Version, start: int, end: int) -> tuple[int, int]:
        """Rows with start <= time < end, and how many of them have a label that is not null."""
        row = self.connection.execute(
            "SELECT count(*), count(l.label) FROM samples s"
            " LEFT JOIN labels l ON l.model_id = ? AND l.sample_id = s.sample_id"
            " WHERE s.version_id = ? AND s.time >= ? AND s.time < ?",
            (version.model_id, version.id, start, end),
        ).fetchone()
        return int(row[0]), int(row[1])

    def samples(
        self, version: Version, start: int, end: int, count: int, *, shuffled: bool
    ) -> list[tuple[str, str | None]]:
        """Rows (JSON) of a window with their labels (JSON, None for null and for no label)."""
        rows = self.connection.execute(
            "SELECT s.row, l.label FROM samples s"
            " LEFT JOIN labels l ON l.model_id = ? AND l.sample_id = s.sample_id"
            " WHERE s.version_id = ? AND s.time >= ? AND s.time < ?"
            f" ORDER BY {'random()' if shuffled else 's.time, s.sample_id'} LIMIT ?",
            (version.model_id, version.id, start, end, count),
        )
        return list(rows)

    # -- labels ---------------------------------------------------------------------------------------------

    def put_labels(self, model_id: int, labels: Iterable[tuple[str, str | None]]) -> None:
        """Write labels (id, JSON or None); the last write wins."""
        self.connection.executemany(f"INSERT OR REPLACE INTO labels VALUES ({int(model_id)}, ?, ?)", labels)

    def labels(self, model_id: int) -> list[tuple[str, str | None]]:
        """All labels of a model."""
        return list(
            self.connection.execute("SELECT sample_id, label FROM labels WHERE model_id = ?", (model_id,))
        )

    def versions_holding(self, model_id: int, sample_ids: Iterable[str]) -> dict[str, list[int]]:
        """For each id the versions of the model that hold it."""
        ids = list(sample_ids)
        found: dict[str, list[int]] = {}
        for version in self.versions(model_id):
            for sample_id in self.stored_ids(version.id, ids):
                found.setdefault(sample_id, []).append(version.id)
        return found

    def label_values(self, model_id: int, version_id: int) -> set[str]:
        """The different labels (JSON, null left out) of a version's rows."""
        rows = self.connection.execute(
            "SELECT DISTINCT l.label FROM samples s"
            " JOIN labels l ON l.model_id = ? AND l.sample_id = s.sample_id"
            " WHERE s.version_id = ? AND l.label IS NOT NULL",
            (model_id, version_id),
        )
        return {row[0] for row in rows}

    # -- reference ------------------------------------------------------------------------------------------

    def count_reference(self, version_id: int) -> int:
        """Reference rows of a version."""
        return int(self._one("SELECT count(*) FROM reference_rows WHERE version_id = ?", version_id))

    def add_reference(self, version_id: int, rows: Iterable[str]) -> None:
        """Store reference rows (JSON)."""
        self.connection.executemany(
            "INSERT INTO reference_rows VALUES (?, ?)", ((version_id, row) for row in rows)
        )

    def reference(self, version_id: int, count: int) -> list[str]:
        """Reference rows (JSON), at random."""
        sql = "SELECT row FROM reference_rows WHERE version_id = ? ORDER BY random() LIMIT ?"
        return [row[0] for row in self.connection.execute(sql, (version_id, count))]

    # -- ingestion errors -----------------------------------------------------------------------------------

    def add_errors(
        self, model_id: int, version_id: int | None, errors: Iterable[tuple[str | None, str, str]], now: int
    ) -> None:
        """List refused rows (id, reason, row)."""
        self.connection.executemany(
            "INSERT INTO errors (model_id, version_id, sample_id, error, sample, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            ((model_id, version_id, *error, now) for error in errors),
        )

    def errors(
        self, model_id: int, where: Sequence[tuple[str, Any]], order: str, limit: int, offset: int
    ) -> list[ErrorRow]:
        """Ingestion errors of a model.

        :param where: SQL conditions with one parameter each.
        :param order: SQL order.
        """
        conditions = "".join(f" AND {condition}" for condition, _ in where)
        rows = self.connection.execute(
            "SELECT id, version_id, sample_id, error, sample, created_at FROM errors"
            f" WHERE model_id = ?{conditions} ORDER BY {order} LIMIT ? OFFSET ?",
            (model_id, *(value for _, value in where), limit, offset),
        )
        return [ErrorRow(*row) for row in rows]
