# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Times: whatever the source has for a time as an instant in UTC, in microseconds.

The server takes RFC 3339 with an offset only; a row at the year 0001 makes every later upload to its model
fail, and a row of the future is refused (measured on server 0.19.3).
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.records.casts.cast import (
    Cast,
    cell,
    masked,
    null_where,
    outside,
    value_problem,
)
from airflow_provider_deepchecks.records.casts.numbers import cast_number, is_number
from airflow_provider_deepchecks.records.casts.texts import is_text, plain_text, undecodable
from airflow_provider_deepchecks.records.reasons import Array, Mask, Problem, Reason, shown

TimestampUnit = Literal["s", "ms", "us", "ns"]

INSTANT = pa.timestamp("us", "UTC")
_NAIVE = pa.timestamp("us")
#: First and last microsecond of the years 1 to 9999, which is what RFC 3339 can write.
_FIRST = -62_135_596_800_000_000
_LAST = 253_402_300_799_999_999

_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_MICROSECONDS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
#: Times from here to now are plausible in another unit. A number that is before March 1973 in its own unit
#: and plausible in a coarser one was meant in that.
_PLAUSIBLE_FROM = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1e6)
_SUSPICIOUS_BEFORE = 10**14

_DATE = r"^\d{4}-\d{2}-\d{2}"
_CLOCK = r"[T ]\d{2}(:\d{2}(:\d{2}([.,]\d+)?)?)?"
_ZONED = rf"{_DATE}{_CLOCK}(Z|[+-]\d{{2}}(:?\d{{2}})?)$"
_UNZONED = rf"{_DATE}({_CLOCK})?$"
_DIGITS = r"^-?\d{9,}(\.\d+)?$"


def check_zone(timezone: str | None) -> None:
    """Refuse a zone that does not exist.

    :param timezone: IANA name, such as "Europe/Berlin", or "UTC"; None when none is declared.
    :raises DeepchecksConfigError: there is no such zone.
    """
    if timezone is None:
        return
    try:
        _instants(pa.array([datetime(2020, 1, 1)], _NAIVE), timezone, "earliest")
    except (pa.ArrowInvalid, TypeError) as error:
        raise DeepchecksConfigError(
            f"timezone={timezone!r} is no known time zone: give an IANA name such as 'Europe/Berlin', "
            f"or 'UTC'. ({error})"
        ) from None


def check_unit(unit: str | None) -> None:
    """Refuse a unit of numeric times that is none.

    :param unit: "s", "ms", "us", "ns", or None for seconds.
    :raises DeepchecksConfigError: it is another one.
    """
    if unit is not None and unit not in get_args(TimestampUnit):
        raise DeepchecksConfigError(f"timestamp_unit={unit!r} is unknown: give one of 's', 'ms', 'us', 'ns'.")


# -- any time as an instant ----------------------------------------------------------------------------------


def cast_time(values: Array, *, timezone: str | None, unit: str | None = None) -> Cast:
    """Times as ``timestamp[us, UTC]``; finer units are cut.

    :param values: timestamps with or without a zone, dates, ISO 8601 text, or numbers since 1970.
    :param timezone: zone of times and dates that have none.
    :param unit: unit of numbers, seconds by default.
    """
    readable = _readable(values)
    cast = _cast_time(readable.values, timezone, unit)
    return Cast(cast.values, cast.problems + readable.problems)


def _readable(values: Array) -> Cast:
    """The values without text that is no UTF-8, at which Arrow's functions would stop."""
    problems = undecodable(plain_text(values)) if is_text(values.type) else ()
    for problem in problems:
        values = null_where(values, problem.rows)
    return Cast(values, problems)


def _cast_time(values: Array, timezone: str | None, unit: str | None) -> Cast:
    if pa.types.is_timestamp(values.type):
        cast = _timestamps(values)
        return cast if values.type.tz is not None else _located(cast, values, timezone)
    if pa.types.is_date(values.type):
        midnight = pa.timestamp("s") if pa.types.is_date32(values.type) else pa.timestamp("ms")
        return _located(_timestamps(values.cast(midnight)), values, timezone)
    if is_text(values.type):
        return _text_times(values, timezone, unit)
    return _numeric_times(values, unit)


def _timestamps(values: Array) -> Cast:
    """Any timestamp in microseconds, its clock reading taken as UTC when it has no zone."""
    if values.type.unit == "ns":
        values = _floored(values)
    scale = {"s": 1_000_000, "ms": 1_000, "us": 1}[values.type.unit]
    ticks = values.cast(pa.int64())
    bounds = (_FIRST // scale, _LAST // scale)
    problems: tuple[Problem, ...] = ()
    extremes = pc.min_max(ticks)
    if (
        extremes["min"].is_valid
        and not bounds[0] <= extremes["min"].as_py() <= extremes["max"].as_py() <= bounds[1]
    ):
        beyond = outside(ticks, *bounds)
        problems = value_problem(Reason.TIME_OUT_OF_RANGE, beyond, values)
        values = null_where(values, beyond)
    return Cast(values.cast(pa.timestamp("us", values.type.tz), safe=False).cast(INSTANT), problems)


def _floored(values: Array) -> Array:
    """Nanoseconds as microseconds. Arrow cuts them toward 1970, so that times before it would grow."""
    micros = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    first = pc.min(values.cast(pa.int64())).as_py()
    if first is None or first >= 0:
        return micros
    ticks = values.cast(pa.int64()).fill_null(0).to_numpy() // 1000
    return pa.array(ticks, mask=masked(values.is_null())).cast(micros.type)


def _located(cast: Cast, values: Array, timezone: str | None) -> Cast:
    """Clock readings as instants of the declared zone."""
    if timezone is None:
        return Cast(cast.values, cast.problems + _naive(masked(cast.values.is_valid()), values))
    if timezone == "UTC":
        return cast
    local = cast.values.cast(_NAIVE)
    # Where the clocks are put back a reading is two instants, where they are put forward it is none.
    instants = _instants(local, timezone, "earliest")
    doubtful = masked(pc.not_equal(instants, _instants(local, timezone, "latest")))
    hint = f" in {timezone}, where the clocks changed"
    return Cast(instants, cast.problems + value_problem(Reason.TIME_AMBIGUOUS, doubtful, values, hint))


def _instants(local: Array, timezone: str, doubtful: Literal["earliest", "latest"]) -> Array:
    # Arrow does it: after a fork, Polars' replace_time_zone waits for threads that are not there.
    return pc.assume_timezone(local, timezone, ambiguous=doubtful, nonexistent=doubtful).cast(INSTANT)


def _naive(mask: Mask, values: Array) -> tuple[Problem, ...]:
    return value_problem(Reason.TIME_NAIVE, mask, values, " (declare it with timezone='...', such as 'UTC')")


def _text_times(values: Array, timezone: str | None, unit: str | None) -> Cast:
    text = plain_text(values)
    # A cast that fails costs Arrow a microsecond a row, so that the first value chooses what to try.
    first: bytes | None = pc.first(text.cast(pa.binary())).as_py()
    if not re.match(_DIGITS.encode(), (first or b"").strip()):
        with contextlib.suppress(pa.ArrowInvalid):
            return _in_years(Cast(text.cast(INSTANT)), values)
    numbers = _counts(text)
    if numbers is not None and numbers.null_count == text.null_count:
        return _numeric_times(numbers, unit)
    # Not all of them are RFC 3339. Spell the usual variants alike, then take each kind for itself.
    text = pc.utf8_trim_whitespace(text)
    text = pc.replace_substring_regex(text, r"\s*(UTC|GMT|[Zz])$", "Z")
    text = pc.replace_substring_regex(text, r"\s+([+-]\d{2}:?\d{0,2})$", r"\1")
    text = pc.replace_substring_regex(text, r"(:\d{2})[.,](\d{1,6})\d*", r"\1.\2")
    zoned, unzoned = (masked(pc.match_substring_regex(text, kind)) for kind in (_ZONED, _UNZONED))
    instants = _parsed(null_where(text, ~zoned), INSTANT)
    problems: tuple[Problem, ...] = ()
    if unzoned.any():
        local = _parsed(null_where(text, ~unzoned), _NAIVE)
        located = _located(Cast(local.cast(INSTANT)), values, timezone)
        instants, problems = pc.coalesce(instants, located.values), problems + located.problems
        unzoned &= masked(local.is_valid())
    read = masked(instants.is_valid()) | unzoned
    if numbers is not None:
        counted = _numeric_times(numbers, unit)
        instants, problems = pc.coalesce(instants, counted.values), problems + counted.problems
        read |= masked(numbers.is_valid())
    unread = masked(values.is_valid()) & ~read
    hint = " (ISO 8601 is wanted, such as 2026-01-31T09:30:00Z)"
    problems += value_problem(Reason.TIME_UNREADABLE, unread, values, hint)
    return _in_years(Cast(instants, problems), values)


def _parsed(text: Array, kind: pa.DataType) -> Array:
    """Text of one spelling as times, null where there is no such day or hour."""
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        return pa.array([_parsed_one(cell) for cell in text.to_pylist()], kind)


def _parsed_one(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def _in_years(cast: Cast, values: Array) -> Cast:
    ranged = _timestamps(cast.values)
    return Cast(
        ranged.values,
        cast.problems + tuple(p for q in ranged.problems for p in value_problem(q.reason, q.rows, values)),
    )


def _numeric_times(values: Array, unit: str | None) -> Cast:
    """Numbers since 1970 as instants, null where they are beyond the years 1 to 9999."""
    scale = _MICROSECONDS[unit or "s"]
    if not pa.types.is_floating(values.type):
        with contextlib.suppress(pa.ArrowInvalid):  # fractions, and what is beyond 64 bits
            values = values.cast(pa.int64())  # exact where doubles are not: nanoseconds
    if pa.types.is_signed_integer(values.type):
        ticks = values.fill_null(0).to_numpy().astype(np.int64)
        inside = (ticks >= _FIRST / scale) & (ticks <= _LAST / scale)
        ticks = np.where(inside, ticks, 0)
        micros = ticks // 1000 if unit == "ns" else ticks * int(scale)
        nulls = masked(values.is_null())
        problems: tuple[Problem, ...] = ()
    else:
        cast = cast_number(values, non_finite="invalid")
        problems = cast.problems
        nulls = masked(cast.values.is_null())
        exact = cast.values.fill_null(0).to_numpy() * scale
        inside = (exact >= _FIRST) & (exact <= _LAST)
        micros = np.rint(np.where(inside, exact, 0)).astype(np.int64)
        for problem in problems:
            inside |= problem.rows  # NaN and infinities are named as such already
    problems += value_problem(
        Reason.TIME_OUT_OF_RANGE, ~inside & ~nulls, values, f" in {_UNITS[unit or 's']}"
    )
    return Cast(pa.array(micros, INSTANT, mask=nulls | ~inside), problems)


# -- the time of a sample ------------------------------------------------------------------------------------


def cast_sample_time(
    values: Array, *, timezone: str | None, unit: str | None, now: datetime, tolerance: timedelta
) -> Cast:
    """The times of samples: as :func:`cast_time`, none before 1970, none in the future.

    :param values: as for :func:`cast_time`.
    :param timezone: zone of times and dates that have none.
    :param unit: unit of numbers, seconds by default.
    :param now: the server's time.
    :param tolerance: how wrong ``now`` may be.
    """
    readable = _readable(values)
    values = readable.values
    cast = _cast_time(values, timezone, unit)
    latest = _micros(now + tolerance)
    extremes = pc.min_max(cast.values.cast(pa.int64()))
    if not cast.problems and not cast.values.null_count:
        first, last = extremes["min"].as_py(), extremes["max"].as_py()
        if first is None or (first >= 0 and last <= latest and not _suspicious(values, first)):
            return cast
    micros = cast.values.cast(pa.int64()).fill_null(0).to_numpy()
    problems = cast.problems
    wrong_unit = np.zeros(len(values), dtype=bool)
    numbers = _counts(values)
    if numbers is not None:
        meant, wrong_unit = _other_units(numbers, unit or "s", latest)
        problems = tuple(p for p in (_without(p, wrong_unit) for p in problems) if p.rows.any())
        if wrong_unit.any():
            problems += (
                Problem(
                    Reason.TIME_WRONG_UNIT, wrong_unit, lambda row: _unit_hint(numbers, row, unit, meant)
                ),
            )
        dates = _look_like_dates(numbers) & (micros < _SUSPICIOUS_BEFORE)
        hint = " (is it a date? make it one, or text such as 2026-01-31)"
        problems += value_problem(Reason.TIME_UNREADABLE, dates, values, hint)
    problems += value_problem(Reason.TIME_BEFORE_1970, (micros < 0) & ~wrong_unit, values)
    future = (micros > latest) & ~wrong_unit
    problems += value_problem(
        Reason.TIME_IN_FUTURE, future, values, f" (the server's clock: {now.isoformat()})"
    )
    return Cast(cast.values, problems + readable.problems)


def late(times: Array, watermark: datetime) -> Array:
    """Which rows are older than the version's newest sample.

    :param times: timestamp[us, UTC].
    :param watermark: time of the version's newest sample.
    """
    older: Array = pc.less(times, pa.scalar(watermark, INSTANT))
    return older.fill_null(False)


def _counts(values: Array) -> Array | None:
    """The numbers among the times, with null for other times; None when there are none."""
    if not is_text(values.type):
        return values if is_number(values.type) else None
    text = plain_text(values)
    try:
        numbers = text.cast(pa.int64())
        smallest = pc.min(pc.abs(numbers)).as_py()
        # "20260101" is a date without dashes rather than a day in August 1970.
        if smallest is not None and smallest >= 10**8:
            return numbers
    except pa.ArrowInvalid:
        pass
    text = pc.utf8_trim_whitespace(text)
    digits = masked(pc.match_substring_regex(text, _DIGITS))
    if not digits.any():
        return None
    text = null_where(text, ~digits)
    try:
        return pc.replace_substring_regex(text, r"\.0*$", "").cast(pa.int64())
    except pa.ArrowInvalid:
        return text.cast(pa.float64())


def _suspicious(values: Array, first: int) -> bool:
    return (is_number(values.type) or is_text(values.type)) and first < _SUSPICIOUS_BEFORE


def _other_units(values: Array, unit: str, latest: int) -> tuple[dict[str, Mask], Mask]:
    """Numbers that are no time of a sample in their unit and are one in another: unit -> rows."""
    numbers = np.abs(cast_number(values, non_finite="null").values.fill_null(0).to_numpy())
    own = numbers * _MICROSECONDS[unit]
    odd = (own > latest) | (own < _SUSPICIOUS_BEFORE)
    meant: dict[str, Mask] = {}
    for other, scale in _MICROSECONDS.items():
        if other != unit:
            meant[other] = odd & (numbers * scale >= _PLAUSIBLE_FROM) & (numbers * scale <= latest)
    return meant, np.logical_or.reduce(list(meant.values()))


def _look_like_dates(values: Array) -> Mask:
    """Numbers such as 20260131, the keys of days in many a warehouse; as seconds they are in August 1970."""
    numbers = cast_number(values, non_finite="null").values.fill_null(0).to_numpy()
    days, months, years = numbers % 100, numbers // 100 % 100, numbers // 10_000
    whole = (np.floor(days) == days) & (days >= 1) & (days <= 31) & (months >= 1) & (months <= 12)
    looks: Mask = whole & (years >= 2000) & (years < 2100)
    return looks


def _unit_hint(values: Array, row: int, unit: str | None, meant: dict[str, Mask]) -> str:
    other = next(name for name, rows in meant.items() if rows[row])
    value = cell(values, row)
    instant = datetime.fromtimestamp(float(value) * _MICROSECONDS[other] / 1e6, UTC)
    return (
        f"{Reason.TIME_WRONG_UNIT}: {shown(value)} was read in {_UNITS[unit or 's']}; in {_UNITS[other]} "
        f"it is {instant.isoformat(timespec='seconds')}: set timestamp_unit='{other}'"
    )


def _without(problem: Problem, mask: Mask) -> Problem:
    return Problem(problem.reason, problem.rows & ~mask, problem.explain)


def _micros(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
