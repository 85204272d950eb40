# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Python objects as Arrow columns: cells of database rows, of lists of dicts, of pandas ``object`` columns.

Arrow's own inference is not used: it looks at the first values only, cuts 3.5 to 3 in a column that began
with whole numbers, takes bytes for text, naive times for UTC, and costs far more than the conversion itself
(measured with pyarrow 26 on lists of floats: 9 µs a cell, against 25 ns when the type is given).
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import numbers
import uuid
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError, DeepchecksUnusableSourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: For decimals whose digits are declared nowhere: 38 digits before the point and 38 behind it, exact.
ANY_DECIMAL = pa.decimal256(76, 38)
#: Whole numbers beyond 64 bits. Arrow cannot hold them as integers; the checks name such rows.
HUGE_INTEGER = pa.decimal256(76, 0)
UTC_TIME = pa.timestamp("us", "UTC")
NAIVE_TIME = pa.timestamp("us")


class Kind(enum.Enum):
    """What a Python class means as data."""

    MISSING = "missing"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    TEXT = "text"
    AS_TEXT = "text by str()"
    JSON = "JSON object"
    BYTES = "bytes"
    TIME = "time"
    NUMPY_TIME = "numpy time"
    NUMPY_SPAN = "numpy time span"
    DATE = "date"
    LIST = "list"


def _kind(cls: type) -> Kind | None:
    # Looked up for each cell of some columns, so classes are judged once.
    if cls not in _KINDS:
        _KINDS[cls] = _judge(cls)
    return _KINDS[cls]


_KINDS: dict[type, Kind | None] = {}
#: Numpy's scalars that are none of Python's own kinds, or would be taken for whole numbers.
_NUMPY = {
    "bool": Kind.BOOLEAN,
    "bool_": Kind.BOOLEAN,
    "datetime64": Kind.NUMPY_TIME,
    "timedelta64": Kind.NUMPY_SPAN,
}


def _judge(cls: type) -> Kind | None:
    # bool and datetime come before the classes they inherit from. Scalars of pandas and numpy are told by
    # name, so that neither has to be imported here.
    if cls is type(None) or cls.__name__ in ("NAType", "NaTType"):
        return Kind.MISSING
    if issubclass(cls, bool):
        return Kind.BOOLEAN
    if cls.__module__ == "numpy" and cls.__name__ in _NUMPY:
        return _NUMPY[cls.__name__]
    families: tuple[tuple[Any, Kind], ...] = (
        (str, Kind.TEXT),
        (Decimal, Kind.DECIMAL),
        (numbers.Integral, Kind.INTEGER),
        (numbers.Real, Kind.FLOAT),
        ((bytes, bytearray, memoryview), Kind.BYTES),
        (dt.datetime, Kind.TIME),
        (dt.date, Kind.DATE),
        ((uuid.UUID, dt.time, dt.timedelta), Kind.AS_TEXT),
        (dict, Kind.JSON),
        ((list, tuple), Kind.LIST),
    )
    for family, kind in families:
        if issubclass(cls, family):
            return kind
    return Kind.LIST if cls.__name__ == "ndarray" else None


def _of_kind(values: Iterable[Any], kind: Kind) -> Iterator[Any]:
    return (value for value in values if _kind(type(value)) is kind)


def _all_nan(values: Iterable[Any]) -> bool:
    return all(value != value for value in _of_kind(values, Kind.FLOAT))


def _time_type(values: Iterable[Any], where: str) -> pa.DataType:
    naive = {value.tzinfo is None for value in _of_kind(values, Kind.TIME)}
    if len(naive) > 1:
        raise DeepchecksSourceError(f"{where} mixes times with and without a time zone; give all of them one")
    return NAIVE_TIME if naive == {True} else UTC_TIME


def _decimal_type(values: Iterable[Any], where: str) -> pa.DataType:
    """Decimals are floats where one of them is NaN or infinite, which Arrow's decimals cannot be."""
    decimals = list(_of_kind(values, Kind.DECIMAL))
    finite = [value for value in decimals if value.is_finite()]
    if len(finite) == len(decimals):
        return ANY_DECIMAL
    long = next((value for value in finite if Decimal(repr(float(value))) != value), None)
    if long is not None:
        raise DeepchecksSourceError(
            f"{where} holds NaN or infinity, which only floats can be, and {long}, which is no float; "
            "give None instead of NaN, or floats throughout"
        )
    return pa.float64()


def _integer_type(values: Sequence[Any]) -> pa.DataType:
    for kind in (pa.int64(), pa.uint64()):
        try:
            pa.array(values, kind, from_pandas=True)
        except (OverflowError, pa.ArrowInvalid):
            continue
        return kind
    return HUGE_INTEGER


def arrow_type(values: Sequence[Any], where: str) -> pa.DataType:
    """Find the one Arrow type that holds all values exactly.

    None, NaT and NA are missing values; so is NaN in a column that otherwise holds no floats, as pandas means
    it. Whole numbers and floats together are floats; UUIDs, times of day and time spans are text; dicts are
    JSON text.

    :param values: the cells of one column.
    :param where: the column's name and place, for the error.
    :return: the type; ``pa.null()`` when no value is there.
    :raises DeepchecksSourceError: the values mix types, or hold a class that is no data.
    """
    classes = set(map(type, values))
    unknown = sorted(cls.__qualname__ for cls in classes if _kind(cls) is None)
    if unknown:
        raise DeepchecksSourceError(f"{where} holds values of type {', '.join(unknown)}, which are no data")
    kinds = {cast("Kind", _kind(cls)) for cls in classes} - {Kind.MISSING}
    if Kind.FLOAT in kinds and len(kinds) > 1:
        if _all_nan(values):
            kinds = kinds - {Kind.FLOAT}
        elif kinds == {Kind.INTEGER, Kind.FLOAT}:
            kinds = {Kind.FLOAT}
    if not kinds:
        return pa.null()
    if kinds <= {Kind.TEXT, Kind.AS_TEXT, Kind.NUMPY_SPAN}:
        return pa.string()
    if Kind.DECIMAL in kinds and kinds <= {Kind.INTEGER, Kind.DECIMAL}:
        return _decimal_type(values, where)
    if len(kinds) > 1:
        mixed = ", ".join(sorted(kind.value for kind in kinds))
        found = Counter(_kind(type(value)) for value in values)
        rarest = min(kinds, key=lambda kind: found[kind])
        example = repr(next(_of_kind(values, rarest)))
        raise DeepchecksUnusableSourceError(
            f"{where} mixes types ({mixed}); a column holds one type. The fewest are of the type "
            f"{rarest.value}, the first of them {example[:60]}: convert them at the source"
        )
    kind = kinds.pop()
    if kind is Kind.TIME:
        return _time_type(values, where)
    if kind is Kind.INTEGER:
        return _integer_type(values)
    if kind is Kind.LIST:
        return pa.list_(arrow_type([item for value in _of_kind(values, kind) for item in value], where))
    return _PLAIN_TYPES[kind]


_PLAIN_TYPES: dict[Kind, pa.DataType] = {
    Kind.BOOLEAN: pa.bool_(),
    Kind.FLOAT: pa.float64(),
    Kind.JSON: pa.string(),
    Kind.BYTES: pa.binary(),
    Kind.NUMPY_TIME: NAIVE_TIME,
    Kind.DATE: pa.date32(),
}


def fits(found: pa.DataType, declared: pa.DataType) -> bool:
    """Say whether values of one type go into a column of another unchanged."""
    if found == declared or pa.types.is_null(found):
        return True
    if pa.types.is_decimal(found) and pa.types.is_decimal(declared):
        # Whether the digits fit is seen when they are converted.
        return True
    if isinstance(found, pa.ListType) and isinstance(declared, pa.ListType):
        return fits(found.value_type, declared.value_type)
    wider = pa.types.is_floating(declared) or pa.types.is_decimal(declared)
    return bool(pa.types.is_integer(found) and wider)


def arrow_array(values: Sequence[Any], type_: pa.DataType, where: str) -> pa.Array[Any]:
    """Convert the cells of one column, exactly or not at all.

    :param values: cells whose type comes from :func:`arrow_type`, or from a database's description.
    :param type_: the column's type.
    :param where: the column's name and place, for the error.
    :raises DeepchecksSourceError: a value does not fit the type.
    """
    # NaN stays NaN where floats are: whether it means "missing" is for the checks' settings to say.
    keep_nan = pa.types.is_floating(type_) or pa.types.is_decimal(type_) or pa.types.is_list(type_)
    try:
        try:
            return pa.array(_cells(values, type_), type_, from_pandas=not keep_nan)
        except (pa.ArrowException, TypeError, ValueError):
            # Looking at each cell costs more than converting it, so it is done where it must be.
            plain = [_plain_cell(value, type_) for value in values]
            if pa.types.is_string(type_):
                # Not checked to be UTF-8, which lone surrogates are not: the checks name such rows.
                return pa.array(plain, pa.binary()).view(type_)
            return pa.array(plain, type_)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        if type_ == ANY_DECIMAL and (doubles := _as_doubles(values)) is not None:
            return doubles
        raise DeepchecksSourceError(
            f"{where} does not hold {type_} throughout: {first_line(error)}"
        ) from error


def _as_doubles(values: Sequence[Any]) -> pa.Array[Any] | None:
    """Decimals as doubles, None where that changes one: ``Decimal(0.1)`` is a double, and has 55 digits."""
    doubles: list[float | None] = []
    for cell in (_plain_cell(value, ANY_DECIMAL) for value in values):
        number = None if cell is None else Decimal(cell)
        double = None if number is None else float(number)
        if double is not None and number not in (Decimal(double), Decimal(repr(double))):
            return None
        doubles.append(double)
    return pa.array(doubles, pa.float64())


def _plain_cell(value: Any, type_: Any) -> Any:
    """A cell, or one in a list, that Arrow converts although its column holds missing values of pandas, NaN
    of decimals, arrays of numpy, or text that is no Unicode."""
    kind = _kind(type(value))
    if kind is Kind.MISSING:
        return None
    if kind is Kind.FLOAT and not pa.types.is_floating(type_):
        return None if value != value else value
    if kind is Kind.DECIMAL and pa.types.is_floating(type_):
        return float("nan") if value.is_nan() else float(value)
    if kind is Kind.LIST and pa.types.is_list(type_):
        return [_plain_cell(item, type_.value_type) for item in value]
    if pa.types.is_string(type_):
        text = _as_text(value)
        return None if text is None else text.encode("utf-8", "surrogatepass")
    return value


def _cells(values: Sequence[Any], type_: pa.DataType) -> Sequence[Any]:
    """Cells that Arrow would convert to something else than they mean."""
    kinds = {_kind(cls) for cls in set(map(type, values))} if _is_delicate(type_) else set()
    if pa.types.is_string(type_) and not kinds <= {Kind.TEXT, Kind.MISSING}:
        return [_as_text(value) for value in values]
    if pa.types.is_decimal(type_) and Kind.FLOAT in kinds:
        return [None if _kind(type(value)) is Kind.FLOAT else value for value in values]
    if Kind.NUMPY_TIME in kinds:
        return [_numpy_time(value) if _kind(type(value)) is Kind.NUMPY_TIME else value for value in values]
    return values


def _numpy_time(value: Any) -> Any:
    # In its own unit a time can be a mere number: of nanoseconds, or beyond the year 9999.
    return value.astype("datetime64[us]").item()


def _is_delicate(type_: pa.DataType) -> bool:
    # Looking at the classes costs as much as converting numbers does, so they are spared it.
    kinds = (pa.types.is_string, pa.types.is_decimal, pa.types.is_timestamp)
    return any(is_kind(type_) for is_kind in kinds)


def parsed_array(values: Sequence[bytes | None], type_: pa.DataType, where: str) -> pa.Array[Any]:
    """Parse the cells of one column from the text that a database wrote.

    :raises DeepchecksSourceError: a text is none of the type, such as MySQL's date 0000-00-00.
    """
    try:
        texts: Any = pa.array(values, pa.string())
        # Times without an offset: whoever gives a type with a zone says that they are UTC.
        texts = texts.cast(NAIVE_TIME) if pa.types.is_timestamp(type_) else texts
        parsed: pa.Array[Any] = texts.cast(type_)
    except pa.ArrowInvalid as error:
        raise DeepchecksSourceError(
            f"{where} does not hold {type_} throughout: {first_line(error)}"
        ) from error
    return parsed


def _as_text(value: Any) -> str | None:
    kind = _kind(type(value))
    if kind is Kind.MISSING or kind is Kind.FLOAT:
        # A float among texts is NaN, the missing value of pandas; arrow_type lets no other pass.
        return None
    if kind is Kind.NUMPY_SPAN:
        span = value.astype("timedelta64[us]").item()
        return None if span is None else str(span)
    return (
        json.dumps(value, ensure_ascii=False, default=str) if kind in (Kind.JSON, Kind.LIST) else str(value)
    )


def first_line(error: BaseException, limit: int = 300) -> str:
    """The first line of an error's message: what follows can hold the query with its parameters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:limit]
