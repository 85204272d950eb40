# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Numbers, booleans and lists of numbers in their wire types, wherever the meaning of a value is certain.

Everything works on whole columns. The functions look first at a sum or at the smallest and largest value,
which costs less than a nanosecond a row and proves most columns right; only a column with something wrong is
looked at closer.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.records.casts.cast import Cast, masked, null_where, outside, value_problem
from airflow_provider_deepchecks.records.casts.texts import is_text, plain_text
from airflow_provider_deepchecks.records.reasons import Array, Mask, Problem, Reason

INT64 = (-(2**63), 2**63 - 1)

_TRUE = pa.array(["true", "t", "1", "yes", "y"])
_FALSE = pa.array(["false", "f", "0", "no", "n"])


def is_number(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds numbers (booleans are none)."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


# -- numbers -------------------------------------------------------------------------------------------------


def cast_number(values: Array, *, non_finite: str) -> Cast:
    """Numbers as float64.

    :param values: integers, floats, decimals or text.
    :param non_finite: "null": NaN and infinities become null; "invalid": they are a problem.
    """
    doubles, problems = _doubles(values)
    finite, not_finite = _finite(doubles, values, non_finite)
    return Cast(finite, problems + not_finite)


def cast_integer(values: Array, *, minimum: int, maximum: int, non_finite: str) -> Cast:
    """Whole numbers as int64; floats and decimals without a fraction are whole.

    :param values: integers, floats, decimals or text.
    :param minimum: smallest number the column takes.
    :param maximum: largest number the column takes.
    :param non_finite: "null": NaN and infinities become null; "invalid": they are a problem.
    """
    if is_text(values.type):
        cast = _text_as_integers(values, non_finite)
    elif pa.types.is_floating(values.type):
        cast = _floats_as_integers(values, non_finite)
    elif pa.types.is_decimal(values.type):
        cast = _decimals_as_integers(values)
    elif pa.types.is_uint64(values.type):
        cast = _unsigned_as_integers(values)
    else:
        cast = Cast(values if pa.types.is_int64(values.type) else values.cast(pa.int64()))
    smallest_largest = pc.min_max(cast.values)
    smallest, largest = smallest_largest["min"].as_py(), smallest_largest["max"].as_py()
    if smallest is None or (smallest >= minimum and largest <= maximum):
        return cast
    beyond = outside(cast.values, minimum, maximum)
    return Cast(cast.values, cast.problems + _out_of_range(beyond, values, minimum, maximum))


def _doubles(values: Array) -> tuple[Array, tuple[Problem, ...]]:
    if pa.types.is_float64(values.type):
        return values, ()
    if is_text(values.type):
        doubles = _parsed(values, pl.Float64)
        return _in_range(doubles, values)
    if pa.types.is_decimal(values.type):
        return _decimals_as_doubles(values), ()
    return values.cast(pa.float64(), safe=False), ()


def _in_range(doubles: Array, values: Array) -> tuple[Array, tuple[Problem, ...]]:
    """Numbers too large for a double come out infinite, but their text is not that of infinity."""
    problems = _unread(doubles, values)
    infinite = masked(pc.is_inf(doubles))
    if infinite.any():
        infinite &= ~_spells_infinity(plain_text(values))
        problems += value_problem(Reason.OUT_OF_RANGE, infinite, values)
        doubles = null_where(doubles, infinite)
    return doubles, problems


def _finite(doubles: Array, values: Array, non_finite: str) -> tuple[Array, tuple[Problem, ...]]:
    """One NaN or infinity makes the sum NaN or infinite: a finite sum proves them all finite."""
    total = pc.sum(doubles).as_py()
    if total is None or math.isfinite(total):
        return doubles, ()
    finite: Array = pc.is_finite(doubles)
    mask = ~masked(finite.fill_null(True))
    if non_finite == "null":
        return null_where(doubles, mask), ()
    return doubles, value_problem(Reason.NOT_FINITE, mask, values)


def _decimals_as_doubles(values: Array) -> Array:
    """Decimals as the nearest doubles.

    Arrow's own cast is off in the last digit for 14 % of decimals with two places (measured with pyarrow 26).
    Dividing two integers that a double holds exactly is correctly rounded, and so is parsing the text.
    """
    scale = values.type.scale
    if pa.types.is_decimal128(values.type) and 0 <= scale <= 22 and len(values):
        words = np.frombuffer(values.buffers()[1], dtype=np.int64)[2 * values.offset :][: 2 * len(values)]
        low, high = words[0::2], words[1::2]
        if not values.null_count and (high == low >> 63).all() and np.abs(low).max() < 2**53:
            return pa.array(low / 10.0**scale)
    return values.cast(pa.string()).cast(pa.float64())


def _floats_as_integers(values: Array, non_finite: str) -> Cast:
    cast = cast_number(values, non_finite=non_finite)
    numbers = cast.values.fill_null(0).to_numpy()
    finite = np.isfinite(numbers)
    fraction = finite & (np.floor(numbers) != numbers)
    beyond = finite & ((numbers < -(2.0**63)) | (numbers >= 2.0**63))
    problems = cast.problems + value_problem(Reason.NOT_WHOLE, fraction, values)
    problems += _out_of_range(beyond, values, *INT64)
    integers = np.where(finite & ~fraction & ~beyond, numbers, 0).astype(np.int64)
    return Cast(pa.array(integers, mask=masked(cast.values.is_null())), problems)


def _decimals_as_integers(values: Array) -> Cast:
    try:
        return Cast(values.cast(pa.int64()))
    except pa.ArrowInvalid:
        return _exactly(values.to_pylist(), values)


def _exactly(decimals: list[Decimal | None], values: Array) -> Cast:
    """Decimals as int64, one by one.

    :param values: the source's values, to be shown.
    """
    beyond = np.array([d is not None and not INT64[0] <= d <= INT64[1] for d in decimals], dtype=bool)
    fraction = np.array([d is not None and d != d.to_integral_value() for d in decimals], dtype=bool)
    bad = fraction | beyond
    integers = pa.array(
        [None if d is None or bad[row] else int(d) for row, d in enumerate(decimals)], pa.int64()
    )
    return Cast(
        integers,
        value_problem(Reason.NOT_WHOLE, fraction, values) + _out_of_range(beyond, values, *INT64),
    )


def _unsigned_as_integers(values: Array) -> Cast:
    beyond = outside(values, 0, INT64[1])
    return Cast(null_where(values, beyond).cast(pa.int64()), _out_of_range(beyond, values, *INT64))


def _text_as_integers(values: Array, non_finite: str) -> Cast:
    """Whole numbers from text, "3.0" and "1e3" among them: over floats where those are exact."""
    integers = _parsed(values, pl.Int64)
    rest = masked(pc.and_(integers.is_null(), values.is_valid()))
    if not rest.any():
        return Cast(integers)
    others = pc.utf8_trim_whitespace(null_where(plain_text(values), ~rest))
    floats = _parsed(others, pl.Float64)
    large = masked(pc.greater_equal(pc.abs(floats), 2.0**53)) & ~_spells_infinity(others)
    cast = _floats_as_integers(null_where(floats, large), non_finite)
    integers, problems = pc.coalesce(integers, cast.values), _unread(floats, others) + cast.problems
    if large.any():
        numbers = [Decimal(one) if large[row] else None for row, one in enumerate(others.to_pylist())]
        exact = _exactly(numbers, values)
        integers, problems = pc.coalesce(integers, exact.values), problems + exact.problems
    return Cast(integers, problems)


def _spells_infinity(text: Array) -> Mask:
    return masked(pc.match_substring(text, "inf", ignore_case=True))


def _parsed(values: Array, kind: Any) -> Array:
    """Text as numbers, null where it is none."""
    text = pc.utf8_trim_whitespace(plain_text(values))
    return pl.Series(text).cast(kind, strict=False).to_arrow()


def _unread(parsed: Array, values: Array) -> tuple[Problem, ...]:
    return value_problem(Reason.NOT_A_NUMBER, masked(pc.and_(parsed.is_null(), values.is_valid())), values)


def _out_of_range(mask: Mask, values: Array, minimum: int, maximum: int) -> tuple[Problem, ...]:
    return value_problem(Reason.OUT_OF_RANGE, mask, values, f" (the column takes {minimum} to {maximum})")


# -- booleans ------------------------------------------------------------------------------------------------


def cast_boolean(values: Array, *, non_finite: str) -> Cast:
    """Booleans; 0 and 1 are false and true.

    :param values: booleans, numbers or text.
    :param non_finite: "null": NaN and infinities become null; "invalid": they are a problem.
    """
    if pa.types.is_boolean(values.type):
        return Cast(values)
    numbers = _truths(values) if is_text(values.type) else values
    cast = cast_number(numbers, non_finite=non_finite)
    true, false = pc.equal(cast.values, pa.scalar(1.0)), pc.equal(cast.values, pa.scalar(0.0))
    neither = masked(values.is_valid()) & ~masked(pc.or_(true, false))
    neither &= masked(pc.or_(cast.values.is_valid(), numbers.is_null()))  # NaN became null
    for problem in cast.problems:  # NaN is named as such, not as "neither true nor false" too
        neither &= ~problem.rows
    return Cast(true, cast.problems + value_problem(Reason.NOT_A_BOOLEAN, neither, values))


def _truths(values: Array) -> Array:
    """Words for true and false, and other text that is a number, as numbers."""
    words = pc.utf8_lower(pc.utf8_trim_whitespace(plain_text(values)))
    true, false = pc.is_in(words, value_set=_TRUE), pc.is_in(words, value_set=_FALSE)
    told = pc.if_else(true, 1.0, pc.if_else(false, 0.0, pa.scalar(None, pa.float64())))
    if told.null_count == words.null_count:
        return told
    return pc.coalesce(told, _parsed(null_where(words, masked(told.is_valid())), pl.Float64))


# -- lists ---------------------------------------------------------------------------------------------------


def is_list(kind: pa.DataType) -> bool:
    """Whether an Arrow type is a list that :func:`cast_list` takes."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def list_depth(kind: pa.DataType) -> int:
    """How deep lists are nested around numbers; 0 for anything else.

    :param kind: an Arrow type.
    """
    depth = 0
    inner: Any = kind
    while is_list(inner):
        inner, depth = inner.value_type, depth + 1
    return depth if is_number(inner) or pa.types.is_null(inner) else 0


def cast_list(values: Array, *, depth: int, non_finite: str, nulls: bool) -> Cast:
    """Lists of numbers as ``list<double>``, or lists of those.

    :param values: lists of numbers, or lists of lists of numbers.
    :param depth: 1 or 2.
    :param non_finite: "null": NaN and infinities become null; "invalid": they are a problem.
    :param nulls: whether the lists may hold null.
    """
    lengths = pc.list_value_length(values).fill_null(0).to_numpy().astype(np.int64)
    elements = values.flatten()  # leaves out what null lists hide
    owners = np.repeat(np.arange(len(values)), lengths)
    if depth > 1:
        cast = cast_list(elements, depth=depth - 1, non_finite=non_finite, nulls=nulls)
    elif pa.types.is_null(elements.type):
        cast = Cast(elements.cast(pa.float64()))
    else:
        cast = cast_number(elements, non_finite=non_finite)
    problems = [(p.reason, p.rows) for p in cast.problems]
    if cast.values.null_count and not (nulls and depth == 1):
        problems.append((Reason.ELEMENT_MISSING, masked(cast.values.is_null())))
    lists = pa.ListArray.from_arrays(
        _int32(np.concatenate([[0], np.cumsum(lengths)])),
        cast.values,
        mask=values.is_null() if values.null_count else None,
    )
    return Cast(
        lists,
        tuple(
            problem
            for reason, bad in problems
            for problem in value_problem(reason, _owning(owners, bad, len(values)), values)
        ),
    )


def _owning(owners: npt.NDArray[np.int64], bad: Mask, rows: int) -> Mask:
    mask = np.zeros(rows, dtype=bool)
    mask[owners[bad]] = True
    return mask


def cast_probabilities(columns: list[Array], classes: int) -> Cast:
    """The probabilities of each row as ``list<double>``, one a class; null where a row has none at all.

    :param columns: one column of numbers a class, or a single column of lists.
    :param classes: how many classes the version declares.
    """
    if len(columns) == 1 and is_list(columns[0].type):
        lists = cast_list(columns[0], depth=1, non_finite="invalid", nulls=False)
        lengths = pc.list_value_length(lists.values).fill_null(classes).to_numpy()
        hint = f" (the version declares {classes} classes)"
        return Cast(
            lists.values,
            lists.problems + value_problem(Reason.PROBABILITY_COUNT, lengths != classes, columns[0], hint),
        )
    casts = [cast_number(column, non_finite="invalid") for column in columns]
    matrix = np.column_stack([cast.values.fill_null(np.nan).to_numpy() for cast in casts])
    missing = np.isnan(matrix)
    none = missing.all(axis=1)
    problems = tuple(p for cast in casts for p in cast.problems if p.reason is not Reason.NOT_FINITE)
    for column, flags, infinite in zip(columns, missing.T, np.isinf(matrix).T, strict=True):
        problems += value_problem(Reason.PROBABILITY_MISSING, flags & ~none, column)
        problems += value_problem(Reason.NOT_FINITE, infinite, column)
    offsets = _int32(np.arange(0, matrix.size + 1, classes))
    return Cast(
        pa.ListArray.from_arrays(
            offsets, pa.array(matrix.reshape(-1)), mask=pa.array(none) if none.any() else None
        ),
        problems,
    )


def _int32(numbers: npt.NDArray[Any]) -> Array:
    return pa.array(numbers.astype(np.int32))
