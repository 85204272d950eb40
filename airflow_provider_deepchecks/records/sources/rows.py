# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows that a cursor hands out as tuples, as Arrow batches."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.batches import no_rows, same_meaning, unique_names
from airflow_provider_deepchecks.records.casts.objects import arrow_array, arrow_type, fits, parsed_array

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Rows of the first fetch, before it is known how large they are.
FIRST_ROWS: Final = 512
#: Bytes of a batch to aim for; as Python objects its rows take about five times as much.
BATCH_BYTES: Final = 4 * 2**20


def tuple_batches(
    cursor: Any, batch_rows: int, types: Sequence[pa.DataType | None] | None = None
) -> Generator[pa.RecordBatch, None, None]:
    """Fetch all rows of an executed cursor.

    What the driver does not tell the values do, batch by batch: a column is null until its first value comes.

    :param cursor: gives rows as sequences, or as dicts when the connection was set up so.
    :param batch_rows: rows to fetch at a time at most.
    :param types: types of the columns, None for those that the values must tell.
    :raises DeepchecksSourceError: a column begins to mean something else, text after numbers.
    """
    rows = _fetch(cursor, min(batch_rows, FIRST_ROWS))
    if cursor.description is None:
        raise DeepchecksSourceError("The statement gives no rows; it must be a SELECT")
    # After the first fetch: a server-side cursor of PostgreSQL has no description before.
    names = unique_names([column[0] for column in cursor.description], "The query")
    told = list(types) if types is not None else [None] * len(names)
    known = [kind or pa.null() for kind in told]
    if not rows:
        yield no_rows(pa.schema(list(zip(names, known, strict=True))))
    position = 0
    while rows:
        arrays = []
        for number, column in enumerate(zip(*rows, strict=True)):
            where = f"Column {names[number]!r}, rows from {position + 1} on,"
            kind = told[number] or _kind(column, known[number], cursor.description[number], where)
            convert = parsed_array if _is_written(column, kind) else arrow_array
            arrays.append(convert(column, kind, where))
            known[number] = kind
        batch = pa.RecordBatch.from_arrays(arrays, names=names)
        yield batch
        position += len(rows)
        size = min(batch_rows, max(1, BATCH_BYTES * batch.num_rows // max(1, batch.nbytes)))
        rows = _fetch(cursor, size)


def _fetch(cursor: Any, size: int) -> Sequence[Any]:
    rows = cursor.fetchmany(size)
    return [tuple(row.values()) for row in rows] if rows and isinstance(rows[0], Mapping) else rows


def _is_written(column: Sequence[Any], kind: pa.DataType) -> bool:
    """Say whether a driver was asked for times and decimals as the text that came over the wire."""
    if not (pa.types.is_temporal(kind) or pa.types.is_decimal(kind)):
        return False
    return isinstance(next((value for value in column if value is not None), None), bytes)


def _kind(column: Sequence[Any], known: pa.DataType, described: Sequence[Any], where: str) -> pa.DataType:
    """The type of some values of a column: the one known so far where that takes them unchanged."""
    found = _found(column, described, where)
    if fits(found, known):
        return known
    if not same_meaning(found, known):
        raise DeepchecksSourceError(
            f"{where} is {found} where it was {known} before; CAST it to one type in the query"
        )
    return found


def _found(column: Sequence[Any], described: Sequence[Any], where: str) -> pa.DataType:
    kind = arrow_type(column, where)
    precision, scale = described[4], described[5]
    if pa.types.is_integer(kind) and scale:
        # Oracle hands out whole numbers of a column with fractions as int.
        return pa.float64()
    declared = isinstance(precision, int) and isinstance(scale, int) and 0 <= scale <= precision
    if pa.types.is_decimal(kind) and declared and 0 < precision <= 38:
        return pa.decimal128(precision, scale)
    return kind
