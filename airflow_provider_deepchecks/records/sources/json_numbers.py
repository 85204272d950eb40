# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Whole numbers of JSON that a double does not hold.

Arrow reads a column as doubles when it has a fraction anywhere, or a number beyond 64 bits, and the digits of
large whole numbers are lost then. Read as decimals they stay.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.records.casts.objects import ANY_DECIMAL, HUGE_INTEGER

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A double holds all whole numbers up to here.
_EXACT_TO: Final = 2**53
#: Bytes before a number; digits after another one are of a fraction or of a text.
_BEFORE: Final = np.isin(np.arange(256), np.frombuffer(b":,[- \t\r\n", dtype=np.uint8))
#: Whole numbers keep their digits; fractions may be doubles, since they are only told apart from them.
_NUMBERS: Final = json.JSONDecoder(parse_int=Decimal, parse_float=float)


class LongIntegers:
    """Finds the columns whose whole numbers doubles do not hold, block by block."""

    def __init__(self) -> None:
        self._lossy: set[str] = set()
        self._fractional: set[str] = set()

    def look(self, block: bytes, table: pa.Table) -> None:
        """Look at a block.

        :param block: JSON objects.
        :param table: what Arrow made of them.
        """
        kinds = {field.name: field.type for field in table.schema}
        for name, kind in kinds.items():
            if pa.types.is_int64(kind) and name not in self._lossy and _any_lossy(table.column(name)):
                self._lossy.add(name)
        doubles = {name for name, kind in kinds.items() if pa.types.is_float64(kind)}
        large = {name for name in doubles if _any_large(table.column(name))}
        if not has_long_integers(block):
            large = set()
        # Doubles without a large one are doubles because of a fraction.
        self._fractional |= doubles - large
        if large - (self._lossy & self._fractional):
            self._look_at_tokens(block, large)

    def _look_at_tokens(self, block: bytes, columns: set[str]) -> None:
        for row in _objects(block):
            for name in columns & row.keys():
                value = row[name]
                if isinstance(value, float):
                    self._fractional.add(name)
                elif value is not None and name not in self._lossy and _is_lossy(value):
                    self._lossy.add(name)

    def exact(self, schema: pa.Schema) -> pa.Schema:
        """The schema that keeps all digits.

        :param schema: what Arrow found in all blocks.
        """
        return pa.schema([(field.name, self._exact(field)) for field in schema])

    def _exact(self, field: Any) -> pa.DataType:
        kind: pa.DataType = field.type
        if not pa.types.is_float64(kind):
            return kind
        if field.name not in self._fractional:
            return HUGE_INTEGER
        return ANY_DECIMAL if field.name in self._lossy else kind


def has_long_integers(block: bytes) -> bool:
    """Whether there may be a whole number that a double does not hold: one of 16 digits or more.

    :param block: JSON.
    """
    codes = np.frombuffer(block, dtype=np.uint8)
    digits = codes - ord("0") < 10  # bytes below "0" wrap around
    run = digits
    for step in (1, 2, 4, 8):
        run = run[:-step] & run[step:]
    # Where 16 digits begin, and no digit is before them.
    starts = np.flatnonzero(run[1:] & ~digits[: max(0, run.size - 1)])
    return bool(_BEFORE[codes[starts]].any())


def _objects(block: bytes) -> Iterator[dict[str, Any]]:
    # Invalid characters are for the checks to name, and are in no number.
    text, place = block.decode("utf-8", "replace").strip(), 0
    while place < len(text):
        row, place = _NUMBERS.raw_decode(text, place)
        yield row or {}  # null is an object without keys
        while place < len(text) and text[place].isspace():
            place += 1


def _any_large(doubles: Any) -> bool:
    return bool(pc.any(pc.greater_equal(pc.abs(doubles), float(_EXACT_TO))).as_py())


def _any_lossy(integers: Any) -> bool:
    extremes = pc.min_max(integers).as_py()
    if extremes["min"] is None or -_EXACT_TO <= extremes["min"] <= extremes["max"] <= _EXACT_TO:
        return False
    large = integers.filter(pc.or_(pc.less(integers, -_EXACT_TO), pc.greater(integers, _EXACT_TO)))
    return any(_is_lossy(Decimal(value)) for value in large.to_pylist())


def _is_lossy(number: Decimal) -> bool:
    return Decimal(float(number)) != number
