# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows from SQLite."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.batches import unique_names
from airflow_provider_deepchecks.records.sources.cursors import Batches, Statement, close_quietly, execute
from airflow_provider_deepchecks.records.sources.rows import tuple_batches

#: What one column's values are, by the first and last of their types in alphabetical order.
_TYPES: Final[dict[tuple[str | None, str | None], pa.DataType]] = {
    (None, None): pa.null(),
    ("blob", "blob"): pa.binary(),
    ("integer", "integer"): pa.int64(),
    ("integer", "real"): pa.float64(),
    ("real", "real"): pa.float64(),
    ("text", "text"): pa.string(),
}


def read(connection: Any, statement: Statement) -> Batches:
    """Read from SQLite. It gives each value a type of its own, so a first pass asks which ones a column
    holds."""
    connection.execute("PRAGMA query_only = ON")
    cursor = connection.cursor()
    cursor.row_factory = None
    try:
        # Executed before the types are asked for: its open snapshot is what they are asked of.
        execute(cursor, statement.text, statement.parameters)
        names = unique_names([column[0] for column in cursor.description or ()], "The query")
        yield from tuple_batches(cursor, statement.batch_rows, _types(connection, statement, names))
    finally:
        close_quietly(cursor)


def _types(connection: Any, statement: Statement, names: list[str]) -> list[pa.DataType | None]:
    # Backticks, since SQLite takes an unknown name in double quotes for a text.
    kinds = [f"nullif(typeof(`{name.replace('`', '``')}`), 'null')" for name in names]
    asked = ", ".join(f"min({kind}), max({kind})" for kind in kinds)
    cursor = connection.cursor()
    cursor.row_factory = None
    execute(cursor, f"SELECT {asked} FROM (\n{statement.sql}\n)", statement.parameters)
    found = cursor.fetchone()
    pairs = list(zip(found[0::2], found[1::2], strict=True))
    for name, pair in zip(names, pairs, strict=True):
        if pair not in _TYPES:
            raise DeepchecksSourceError(
                f"Column {name!r} holds both {pair[0]} and {pair[1]} values; CAST it in the query"
            )
    return [_TYPES[pair] for pair in pairs]
