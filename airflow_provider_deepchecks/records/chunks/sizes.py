# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""How many bytes rows are likely to take as JSON, told from their Arrow columns without encoding them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping

Bytes = npt.NDArray[np.int64]

#: A number, boolean or time: a double needs up to 24 digits, a time 34, most numbers far fewer.
_CELL: Final = 20
#: Quotes of a text, which leave room for most of a ``null``.
_QUOTES: Final = 2


def estimated_bytes(batch: pa.RecordBatch, columns: Mapping[str, str]) -> Bytes:
    """Bytes of each row's JSON object, exact in its keys and in text without escapes.

    :param columns: JSON key -> column of the batch.
    """
    keys = sum(len(json.dumps(key)) + 2 for key in columns) + 2
    sizes = np.full(batch.num_rows, keys, dtype=np.int64)
    for name in columns.values():
        sizes += _value_bytes(batch.column(name))
    return sizes


def _value_bytes(column: Any) -> Bytes | int:
    kind = column.type
    if pa.types.is_dictionary(kind):
        lengths: Any = pc.binary_length(column.dictionary)
        return _numbers(lengths.take(column.indices)) + _QUOTES
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _numbers(pc.binary_length(column)) + _QUOTES
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        values = column.flatten()
        value = float(np.mean(_value_bytes(values))) + 1 if len(values) else 0.0
        return (_numbers(pc.list_value_length(column)) * value).astype(np.int64) + 2
    return _CELL


def _numbers(lengths: Any) -> Bytes:
    numbers: Bytes = lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers
