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
    from airflow_provider_deepchecks.records.chunks.sizes import Bytes

#: With Kafka a row over 1 MB makes the server answer 500 (measured on server 0.19.3); this leaves room for
#: what it wraps around a row.
MAX_ROW_BYTES = 900_000

#: Longest JSON of a value that is no text, in bytes: a double, a time.
_CELL_BYTES = 40
#: A control character of one byte is written in six.
_ESCAPED = 6


def without_large_rows(checked: Checked) -> Checked:
    """Rows over the limit set aside; nearly always the lengths of a row's texts prove that it is not.

    :param checked: a checked batch.
    """
    rows = checked.rows
    doubtful = np.flatnonzero(_most_bytes(rows) > MAX_ROW_BYTES)
    if not doubtful.size:
        return checked
    encode = encode_samples if PREDICTION in rows.schema.names else encode_labels
    sizes = np.zeros(rows.num_rows, dtype=np.int64)
    for row in doubtful.tolist():
        sizes[row] = len(encode(rows.slice(row, 1))) - len("[]")
    return checked.set_aside(
        sizes > MAX_ROW_BYTES,
        Reason.ROW_TOO_LARGE,
        lambda row: f"{Reason.ROW_TOO_LARGE}: {sizes[row]:,} bytes",
        None,
    )


def _most_bytes(rows: pa.RecordBatch) -> Bytes:
    """For each row a number of bytes that its JSON does not exceed."""
    names = sum(len(name.encode()) * _ESCAPED + len('"":,') for name in rows.schema.names)
    most = np.full(rows.num_rows, names, dtype=np.int64)
    for column in rows.columns:
        most += _most_bytes_of(column)
    return most


def _most_bytes_of(column: Array) -> Bytes | int:
    if pa.types.is_string(column.type):
        return byte_lengths(column) * _ESCAPED + len("null")
    if pa.types.is_list(column.type):
        lengths = pc.list_value_length(column).fill_null(0).to_numpy().astype(np.int64)
        upto = np.zeros(int(lengths.sum()) + 1, dtype=np.int64)
        upto[1:] = np.cumsum(np.broadcast_to(_most_bytes_of(column.flatten()), upto.size - 1) + len(","))
        ends = np.cumsum(lengths)
        most: Bytes = upto[ends] - upto[ends - lengths] + len("null")
        return most
    return _CELL_BYTES
