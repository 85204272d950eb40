# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Checked rows to the JSON that Deepchecks reads.

Polars writes the JSON. Of the encoders measured (standard library, orjson, msgspec, pandas, DuckDB, arro3,
Arrow's string kernels, Polars) its ``write_json`` was the fastest from Arrow columns to bytes on one core,
without a Python object per cell. Escaping each distinct string of a dictionary column only once did not pay:
Polars writes plain text faster than it looks values up, so dictionaries are decoded here.

The columns are handed over one by one and written eagerly. Neither step enters Polars' thread pool, so a task
process forked from a worker that has used Polars does not hang (with ``pl.from_arrow`` of a table it does).
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl
import pyarrow as pa

from airflow_provider_deepchecks.records.columns import INTERNAL, LABEL, PROBABILITIES, SAMPLE_ID, TIME

#: Keys of a label's JSON object -> columns.
LABEL_COLUMNS: Final = {SAMPLE_ID: SAMPLE_ID, LABEL: LABEL}

_UTC_MICROSECONDS: Final = pa.timestamp("us", tz="UTC")
#: The server takes a missing key, not a null. A string cannot hold these bytes: its quotes are escaped.
_NO_PROBABILITIES: Final = f',"{PROBABILITIES}":null'.encode()


class _Parts(list[bytes]):
    """A file that keeps what is written to it, so that a body is copied once (by ``join``), not twice."""

    def write(self, data: bytes) -> int:
        self.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back; Polars calls this at the end."""


def encode_samples(batch: pa.RecordBatch) -> bytes:
    """Sample rows as a JSON array of objects in UTF-8.

    Sent are all columns but ``__position`` and ``_dc_label``; ``__time`` becomes ``_dc_time``, RFC 3339 with
    an offset. Floats are written in the fewest digits that give the same double back, integers exactly.

    :param batch: wire rows: text, dictionaries of text, numbers, booleans, times and lists of numbers.
    :raises TypeError: for a column type that has no JSON form here; the checks let none through.
    """
    body = _write(batch, sample_columns(batch.schema))
    return body.replace(_NO_PROBABILITIES, b"") if PROBABILITIES in batch.schema.names else body


def encode_labels(batch: pa.RecordBatch) -> bytes:
    """Label rows as a JSON array of id and label in UTF-8; a null label is sent as ``null``."""
    return _write(batch, LABEL_COLUMNS)


def sample_columns(schema: pa.Schema) -> dict[str, str]:
    """Keys of a sample's JSON object -> the column each is read from; id and time come first."""
    features = {name: name for name in schema.names if name not in INTERNAL and name != LABEL}
    return {SAMPLE_ID: SAMPLE_ID, "_dc_time": TIME} | features


def _write(batch: pa.RecordBatch, columns: dict[str, str]) -> bytes:
    # A dict, since a list of series would lose an empty name.
    frame = pl.DataFrame({key: pl.Series(key, _writable(batch, name)) for key, name in columns.items()})
    parts = _Parts()
    frame.write_json(parts)  # type: ignore[call-overload]  # any object with write() will do
    return b"".join(parts)


def _writable(batch: pa.RecordBatch, name: str) -> Any:
    """The column in a type whose JSON form is the one Deepchecks takes."""
    column = batch.column(name)
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # Polars writes a time with a zone as RFC 3339; without one it leaves out the T, which is refused.
        return column.cast(_UTC_MICROSECONDS, safe=False)
    if not _has_json_form(kind):
        raise TypeError(f"column {name!r}: type {kind} cannot be sent; rows must pass the checks first")
    return column


def _has_json_form(kind: Any) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _has_json_form(kind.value_type)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_float32(kind)
        or pa.types.is_float64(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )
