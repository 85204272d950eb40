# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The texts of PostgreSQL's COPY as Arrow values.

PostgreSQL has numbers and times that Arrow's decimals and timestamps do not hold: NaN, infinities, more
digits, years before 1 and after 9999. So that they do not stop the rows beside them they come as what the
checks take as well: doubles for decimals, text for times.
"""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.records.casts.cast import masked, null_where
from airflow_provider_deepchecks.records.casts.objects import arrow_array
from airflow_provider_deepchecks.records.reasons import Array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The rows of one column, in pieces of one type each.
Pieces: TypeAlias = list[Array]

#: How PostgreSQL writes a time that ISO 8601 knows.
_ORDINARY_TIME: Final = r"^\d{4}-\d\d-\d\d [0-9:.]+$"


def numbers(texts: Array, kind: pa.DataType) -> Pieces:
    """Numerics as decimals; doubles where a number is not finite or has more digits than the type.

    One such number makes doubles of all beside it when no digit is lost by that, since there may be many.

    :param texts: as PostgreSQL writes numerics.
    :param kind: their decimal type.
    """
    try:
        return [texts.cast(kind)]
    except pa.ArrowInvalid:
        pass
    odd = np.array([text is not None and not _fits(text, kind) for text in texts.to_pylist()], dtype=bool)
    decimals, doubles = null_where(texts, odd).cast(kind), texts.cast(pa.float64())
    if _same(null_where(doubles, odd), decimals):
        return [doubles]
    edges = [0, *(np.flatnonzero(np.diff(odd)) + 1).tolist(), len(texts)]
    return [(doubles if odd[start] else decimals).slice(start, end - start) for start, end in pairwise(edges)]


def _fits(text: str, kind: Any) -> bool:
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):  # NaN and infinities have a letter there
        return False
    precision, scale = int(kind.precision), int(kind.scale)
    return -exponent <= scale and number.adjusted() < precision - scale


def _same(doubles: Array, decimals: Array) -> bool:
    try:
        back = doubles.cast(pa.string()).cast(decimals.type)
    except pa.ArrowInvalid:  # digits that the decimals do not have
        return False
    return bool(masked(pc.equal(back, decimals).fill_null(True)).all())


def times(texts: Array, kind: pa.DataType) -> Pieces:
    """Times and dates; text where there is one that Arrow does not know, such as ``infinity``.

    :param texts: as PostgreSQL writes times in ISO style; without their zone, which is UTC, where the type
        has one.
    :param kind: a date, or a timestamp.
    """
    zone = getattr(kind, "tz", None)
    try:
        return [texts.cast(pa.timestamp("us") if zone else kind).cast(kind)]
    except pa.ArrowInvalid:
        pass
    if not zone:
        return [texts]
    ordinary = pc.match_substring_regex(texts, _ORDINARY_TIME)
    return [pc.if_else(ordinary, pc.binary_join_element_wise(texts, "+00:00", ""), texts)]


class Lists:
    """The arrays of one column.

    An array type of PostgreSQL does not say how many dimensions its values have: the values do, and until one
    comes there are only nulls.

    :param leaf: type of the elements.
    :param where: the column, for errors.
    """

    def __init__(self, leaf: pa.DataType, where: str) -> None:
        self._leaf = leaf
        self._where = where
        self._depth = 0

    def arrays(self, texts: Array) -> Pieces:
        """Arrays as lists.

        :param texts: JSON.
        :raises DeepchecksSourceError: an array has not as many dimensions as those before.
        """
        values = [None if text is None else json.loads(text) for text in texts.to_pylist()]
        if all(value is None for value in values):
            return [pa.nulls(len(values))]
        # An empty array has no dimensions.
        self._depth = self._depth or max((_depth(value) for value in values if value), default=0)
        kind = self._leaf
        for _ in range(self._depth or 1):
            kind = pa.list_(kind)
        if pa.types.is_floating(self._leaf):
            # JSON has no NaN and infinity: PostgreSQL writes them as texts.
            values = [_floats(value) for value in values]
        return [arrow_array(values, kind, self._where)]


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value[:1]), default=0) if isinstance(value, list) else 0


def _floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value) if isinstance(value, str) else value


def batches(names: Sequence[str], columns: Sequence[Pieces]) -> Iterator[pa.RecordBatch]:
    """The rows of some columns, cut where the type of one changes.

    :param names: the columns' names.
    :param columns: columns of the same number of rows.
    """
    starts = [[0, *accumulate(map(len, pieces))] for pieces in columns]
    edges = sorted({edge for column in starts for edge in column})
    places = [0] * len(columns)
    for start, end in pairwise(edges):
        arrays = []
        for number, pieces in enumerate(columns):
            if starts[number][places[number] + 1] <= start:
                places[number] += 1
            arrays.append(pieces[places[number]].slice(start - starts[number][places[number]], end - start))
        yield pa.RecordBatch.from_arrays(arrays, names=list(names))
