# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows too large for the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.records.casts.texts import byte_lengths
from airflow_provider_deepchecks.records.chunks.encode import encode_labels, encode_samples
from airflow_provider_deepchecks.records.columns import PREDICTION
from airflow_provider_deepchecks.records.reasons import Array, Reason

if TYPE_CHECKING:
    from airflow_provider_deepchecks.records.checks.checked import Checked

#: With Kafka a row over 1 MB makes the server answer 500 (measured on server 0.19.3); this leaves room for
#: what it wraps around a row.
MAX_ROW_BYTES = 900_000

#: Longest JSON of a value that is no text, in bytes: a double, a time.
_CELL_BYTES = 40
#: A control character of one byte is written in six.
_ESCAPED = 6


def without_large_rows(checked: Checked) -> Checked:
    """Rows over the limit set aside; nearly always the longest texts of the batch prove that there is none.

    :param checked: a checked batch.
    """
    rows = checked.rows
    if not rows.num_rows or _most_bytes(rows) <= MAX_ROW_BYTES:
        return checked
    encode = encode_samples if PREDICTION in rows.schema.names else encode_labels
    sizes = np.zeros(rows.num_rows, dtype=np.int64)
    for row in range(rows.num_rows):
        one = rows.slice(row, 1)
        if _most_bytes(one) > MAX_ROW_BYTES:
            sizes[row] = len(encode(one)) - len("[]")
    return checked.set_aside(
        sizes > MAX_ROW_BYTES,
        Reason.ROW_TOO_LARGE,
        lambda row: f"{Reason.ROW_TOO_LARGE}: {sizes[row]:,} bytes",
        None,
    )


def _most_bytes(rows: pa.RecordBatch) -> int:
    """No row's JSON is longer than this, in bytes."""
    names = sum(len(name.encode()) * _ESCAPED + len('"":,') for name in rows.schema.names)
    return names + sum(_most_bytes_of(column) for column in rows.columns)


def _most_bytes_of(column: Array) -> int:
    if pa.types.is_string(column.type):
        return int(byte_lengths(column).max(initial=0)) * _ESCAPED + len('""')
    if pa.types.is_list(column.type):
        longest = pc.max(pc.list_value_length(column)).as_py() or 0
        return int(longest) * (_most_bytes_of(column.flatten()) + 1) + len("[]") if longest else len("null")
    return _CELL_BYTES
