# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The broker of the mode with a queue: one topic for each version's samples and for each model's labels.

The messages lie in the same database as the rows, so a restart loses neither.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

#: The largest message the broker takes, in bytes.
MAX_MESSAGE_BYTES = 1_048_576


@dataclass(frozen=True)
class Topic:
    """Where messages of one version (samples) or one model (labels) wait."""

    kind: Literal["samples", "labels"]
    owner: int

    @property
    def name(self) -> str:
        """Its name in the database."""
        return f"{self.kind}-{self.owner}"

    @classmethod
    def named(cls, name: str) -> Topic:
        """The topic of that name."""
        kind, _, owner = name.partition("-")
        return cls("labels" if kind == "labels" else "samples", int(owner))


@dataclass(frozen=True)
class Message:
    """One row on its way.

    :param position: 0 for a topic's first message, then counted up.
    :param row: the row as it came.
    :param logged: when it came, in microseconds since 1970.
    """

    position: int
    row: dict[str, Any]
    logged: int


class Broker:
    """Queues rows and hands them out, oldest first.

    :param connection: the database.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def send(self, topic: Topic, rows: Iterable[dict[str, Any]], logged: int) -> bool:
        """Queue rows up to the first one that is too large; whether all were queued comes back."""
        payloads = []
        fits = True
        for row in rows:
            payload = json.dumps([row, logged])
            fits = len(payload) <= MAX_MESSAGE_BYTES
            if not fits:
                break
            payloads.append(payload)
        self._db.execute("INSERT OR IGNORE INTO topics (name) VALUES (?)", (topic.name,))
        (start,) = self._db.execute("SELECT next FROM topics WHERE name = ?", (topic.name,)).fetchone()
        self._db.executemany(
            "INSERT INTO messages VALUES (?, ?, ?)",
            ((topic.name, position, payload) for position, payload in enumerate(payloads, start)),
        )
        self._db.execute("UPDATE topics SET next = next + ? WHERE name = ?", (len(payloads), topic.name))
        return fits

    def end(self, topic: Topic) -> int:
        """Position of the topic's newest message, -1 when there never was one."""
        row = self._db.execute("SELECT next - 1 FROM topics WHERE name = ?", (topic.name,)).fetchone()
        return int(row[0]) if row else -1

    def waiting(self) -> list[Topic]:
        """Topics with messages, in the order they were first used."""
        rows = self._db.execute("SELECT name FROM topics WHERE consumed < next ORDER BY rowid")
        return [Topic.named(name) for (name,) in rows]

    def poll(self, topic: Topic, size: int) -> list[Message]:
        """The next messages, at most ``size``; they stay until :meth:`commit`."""
        rows = self._db.execute(
            "SELECT position, payload FROM messages WHERE topic = ? ORDER BY position LIMIT ?",
            (topic.name, size),
        )
        return [Message(position, *json.loads(payload)) for position, payload in rows]

    def commit(self, topic: Topic, position: int) -> None:
        """Never hand out the messages up to this position again."""
        self._db.execute("DELETE FROM messages WHERE topic = ? AND position <= ?", (topic.name, position))
        self._db.execute("UPDATE topics SET consumed = ? WHERE name = ?", (position + 1, topic.name))
