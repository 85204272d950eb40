# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Times, whatever the source has for a time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.records.casts.times import cast_time, late
from airflow_provider_deepchecks.records.checks.checker import Checker, CheckOptions
from airflow_provider_deepchecks.records.checks.schema import RecordSchema
from airflow_provider_deepchecks.records.columns import Columns
from tests.records.checking import NOW, PAST, check, checker, reasons, rows_of, version_schema

SECONDS = int(PAST.timestamp())
PLUS_TWO = timezone(timedelta(hours=2))


def _times(values: Any, **options: Any) -> tuple[list[datetime], dict[int, list[str]]]:
    """Times of the good rows, and the reasons of the bad ones."""
    values = values if isinstance(values, pa.Array) else pa.array(values)
    checked = check(checker(**options), rows_of(len(values), at=values))
    return checked.rows.column("__time").to_pylist(), reasons(checked)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([PAST], pa.timestamp("us", "UTC")),
        pa.array([PAST], pa.timestamp("s", "UTC")),
        pa.array([PAST], pa.timestamp("ms", "Europe/Berlin")),
        pa.array([PAST], pa.timestamp("ns", "+02:00")),
        pa.array([PAST.astimezone(PLUS_TWO)]),
        pa.array(pd.Series([pd.Timestamp(PAST)])),
        pa.array([SECONDS]),
        pa.array([SECONDS], pa.uint32()),
        pa.array([float(SECONDS)]),
        pa.array([Decimal(SECONDS)]),
        pa.array(["2026-01-01T10:00:00Z"]),
        pa.array(["2026-01-01T10:00:00+00:00"], pa.large_string()),
        pa.array(["2026-01-01 10:00:00+00"]),
        pa.array(["2026-01-01T12:00:00+0200"]),
        pa.array(["2026-01-01 10:00:00 UTC"]),
        pa.array(["2026-01-01T10:00:00z"]),
        pa.array(["2026-01-01T10:00Z"]),
        pa.array([" 2026-01-01T10:00:00,000Z "]),
        pa.array(["2026-01-01 12:00:00 +02:00"]),
        pa.array(["2026-01-01 10:00:00.000 Z"]),
        pa.array([str(SECONDS)]),
        pa.array(["2026-01-01T10:00:00Z"]).dictionary_encode(),
    ],
)
def test_times_with_a_zone(values: Any) -> None:
    assert _times(values) == ([PAST], {})


@pytest.mark.parametrize(
    "values",
    [
        pa.array([datetime(2026, 1, 1, 11)]),
        pa.array([datetime(2026, 1, 1, 11)], pa.timestamp("s")),
        pa.array([datetime(2026, 1, 1, 11)], pa.timestamp("ns")),
        pa.array(["2026-01-01T11:00:00"]),
        pa.array(["2026-01-01 11:00"]),
    ],
)
def test_times_without_a_zone_need_one_declared(values: Any) -> None:
    assert _times(values, timezone="Europe/Berlin") == ([PAST], {})
    assert _times(values, timezone="UTC") == ([PAST + timedelta(hours=1)], {})
    checked = check(checker(), rows_of(at=values))
    (row,) = checked.bad_rows()
    assert row.reason == "time has no zone"
    assert "timezone='...'" in row.detail


@pytest.mark.parametrize(
    "values",
    [
        pa.array([date(2026, 1, 1)]),
        pa.array([date(2026, 1, 1)], pa.date64()),
        pa.array(["2026-01-01"]),
    ],
)
def test_dates_are_midnight_in_the_declared_zone(values: Any) -> None:
    assert _times(values, timezone="Asia/Kolkata") == ([datetime(2025, 12, 31, 18, 30, tzinfo=UTC)], {})
    assert _times(values)[1] == {0: ["time has no zone"]}


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("other", ["2026-01-01T10:00:00Z", "2026-01-01 10:00:00 UTC", str(SECONDS)])
def test_a_time_that_is_no_unicode_stops_no_other(other: str, kind: pa.DataType) -> None:
    raw = pa.array([b"2026\xed\xa0\x80", other.encode(), None], pa.binary())
    times = raw.cast(pa.large_binary()).view(kind) if pa.types.is_large_string(kind) else raw.view(kind)
    checked = check(checker({"d": "datetime"}), rows_of(3, at=times, d=times))
    assert reasons(checked) == {0: ["text is not valid Unicode"] * 2, 2: ["time is missing"]}
    assert checked.rows.column("__time").to_pylist() == [PAST]


def test_hours_alone_are_read_beside_other_spellings_too() -> None:
    for values in (["2026-01-01T10Z"], ["2026-01-01T10Z", "2026-01-01 10:00:00 UTC"]):
        assert _times(values) == ([PAST] * len(values), {})
    for values in (["2026-01-01 11"], ["2026-01-01 11", " 2026-01-01 11:00 "], ["2026-01-01T11+01"]):
        assert _times(values, timezone="Europe/Berlin") == ([PAST] * len(values), {})


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.decimal128(38, 0), pa.string()])
def test_numbers_of_nanoseconds_are_exact_whatever_their_type(kind: pa.DataType) -> None:
    ticks = pa.array([SECONDS * 10**9 + 1_999, None]).cast(kind)
    checked = check(checker(timestamp_unit="ns"), rows_of(2, at=ticks))
    assert checked.rows.column("__time").to_pylist() == [PAST + timedelta(microseconds=1)]


def test_nanoseconds_are_cut_to_the_microsecond_before() -> None:
    ticks = pa.array([-1, -1000, 999, None, -1_500_001], pa.int64()).cast(pa.timestamp("ns", "UTC"))
    checked = check(checker({"d": "datetime"}), rows_of(5, d=ticks))
    assert checked.rows.column("d").cast(pa.int64()).to_pylist() == [-1, -1, 0, None, -1501]


def test_spellings_can_be_mixed_in_a_column() -> None:
    values = [
        "2026-01-01T10:00:00Z",
        "2026-01-01 11:00:00",
        "1767261600",
        None,
        "2026-01-01T10:00:00.0000009Z",
    ]
    times, bad = _times(values, timezone="Europe/Berlin")
    assert times == [PAST] * 4
    assert bad == {3: ["time is missing"]}


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-01-32T00:00:00Z", "2026-13-01", "20260101", "10:00", "2026-01-01T25:00:00Z", "0"],
)
def test_text_that_is_no_time(text: str) -> None:
    for values in ([text], ["2026-01-01T10:00:00Z", text]):
        times, bad = _times(values, timezone="UTC")
        assert len(times) == len(values) - 1
        assert bad == {len(values) - 1: ["not a time"]}


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.float64(), pa.decimal128(21, 2)])
@pytest.mark.parametrize("unit", [None, "ms", "ns"])
def test_numbers_that_spell_a_date_are_no_time(kind: pa.DataType, unit: Any) -> None:
    values = pa.array([20260131, 20260132, 20001231, None, 0]).cast(kind)
    checked = check(checker(timestamp_unit=unit), rows_of(5, at=values))
    assert reasons(checked) == {0: ["not a time"], 2: ["not a time"], 3: ["time is missing"]}
    assert "20260131" in next(checked.bad_rows()).detail


def test_finer_units_are_cut_to_microseconds() -> None:
    nanoseconds = pa.array([SECONDS * 10**9 + 123_456_789], pa.timestamp("ns", "UTC"))
    for values in (nanoseconds, pa.array(["2026-01-01T10:00:00.123456789Z"])):
        assert _times(values) == ([PAST + timedelta(microseconds=123_456)], {})


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2026, 5, 31)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_local_times_are_what_zoneinfo_makes_of_them(local: datetime, zone: str) -> None:
    from zoneinfo import ZoneInfo

    aware = [local.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1)]
    instants = {time.astimezone(UTC) for time in aware}
    values = pa.array([local], pa.timestamp("us"))
    cast = cast_time(values, timezone=zone)
    if len(instants) == 1:
        assert cast.values.to_pylist() == list(instants)
        assert cast.problems == ()
    else:
        assert [problem.reason for problem in cast.problems] == ["local time exists twice or not at all"]


@pytest.mark.parametrize("local", [datetime(2025, 10, 26, 2, 30), datetime(2025, 3, 30, 2, 30)])
def test_local_times_of_the_hours_when_clocks_change(local: datetime) -> None:
    text = local.isoformat()
    for values in (pa.array([local, datetime(2025, 1, 1)]), pa.array([text, "2025-01-01T00:00:00Z"])):
        times, bad = _times(values, timezone="Europe/Berlin")
        assert len(times) == 1
        assert bad == {0: ["local time exists twice or not at all"]}


# -- numbers and their unit ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_numbers_in_the_declared_unit(unit: str, scale: int) -> None:
    number = SECONDS * scale
    for values in (pa.array([number]), pa.array([float(number)]), pa.array([str(number)])):
        assert _times(values, timestamp_unit=unit) == ([PAST], {})


def test_fractions_of_seconds() -> None:
    assert _times([SECONDS + 0.25]) == ([PAST + timedelta(milliseconds=250)], {})
    assert _times([f"{SECONDS}.25"]) == ([PAST + timedelta(milliseconds=250)], {})


UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@pytest.mark.parametrize(
    ("unit", "meant"),
    [(unit, meant) for unit in [None, *UNITS] for meant in UNITS if meant != (unit or "s")],
)
@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string()])
def test_numbers_in_another_unit_are_told(unit: Any, meant: str, kind: pa.DataType) -> None:
    values = pa.array([SECONDS * UNITS[meant]]).cast(kind, safe=False)
    (row,) = check(checker(timestamp_unit=unit), rows_of(at=values)).bad_rows()
    assert row.reason == "time is in another unit"
    assert f"it is 2026-01-01T10:00:00+00:00: set timestamp_unit='{meant}'" in row.detail


@pytest.mark.parametrize(
    ("number", "found"),
    [
        (0, []),
        (86_400, []),
        (-1, ["time is before 1970"]),
        (4_000_000_000, ["time is in the future"]),
        (2**62, ["time is outside the years 1 to 9999"]),
        (-(2**62), ["time is outside the years 1 to 9999"]),
    ],
)
def test_numbers_at_the_edges(number: int, found: list[str]) -> None:
    assert reasons(check(checker(), rows_of(at=[number]))).get(0, []) == found


def test_numbers_that_are_not_finite() -> None:
    bad = _times([float("nan"), float("inf"), float(SECONDS)])[1]
    assert bad == {0: ["NaN or infinite"], 1: ["NaN or infinite"]}


# -- too early, too late -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "found"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), []),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), ["time is before 1970"]),
        (datetime(1, 1, 1, tzinfo=UTC), ["time is before 1970"]),
        (NOW, []),
        (NOW + timedelta(seconds=1), []),  # the server's clock is known to a second
        (NOW + timedelta(seconds=1, microseconds=1), ["time is in the future"]),
        (datetime(9999, 12, 31, tzinfo=UTC), ["time is in the future"]),
    ],
)
def test_samples_are_of_the_past(time: datetime, found: list[str]) -> None:
    for values in (pa.array([time], pa.timestamp("us", "UTC")), pa.array([time.isoformat().rjust(25, "0")])):
        assert reasons(check(checker(), rows_of(at=values))).get(0, []) == found


def test_times_beyond_the_calendar() -> None:
    for values in (
        pa.array([2**60], pa.timestamp("s", "UTC")),
        pa.array([2**62], pa.timestamp("us", "UTC")),
        pa.array([-(2**60)], pa.timestamp("ms", "UTC")),
        pa.array([2**30], pa.date32()),
        pa.array(["0000-01-01T00:00:00Z"]),
    ):
        checked = check(
            checker(timezone="UTC"), rows_of(2, at=pa.concat_arrays([values, pa.nulls(1, values.type)]))
        )
        assert reasons(checked)[0] == ["time is outside the years 1 to 9999"]
        assert all(row.detail for row in checked.bad_rows())


def test_the_clock_is_asked_for_every_batch() -> None:
    clock = iter([NOW, NOW, NOW + timedelta(hours=2)])
    schema = RecordSchema.samples(version_schema(), "regression", Columns("id", "at", "guess"))
    checks = Checker(schema, CheckOptions(), now=lambda: next(clock))
    batch = rows_of(at=pa.array([NOW + timedelta(hours=1)], pa.timestamp("us", "UTC")))
    assert check(checks, batch).counts() == {"time is in the future": 1}
    assert check(checks, batch).findings == ()


@pytest.mark.parametrize("text", [f"{SECONDS}000", f"{SECONDS}000.0", f" {SECONDS}000.5 "])
@pytest.mark.parametrize("beside", [None, "n/a", "2026-01-01T10:00:00Z"])
def test_text_in_another_unit_is_told_whatever_is_beside_it(text: str, beside: str | None) -> None:
    checked = check(checker(), rows_of(2, at=pa.array([text, beside])), untyped=True)
    row = next(checked.bad_rows())
    assert row.reason == "time is in another unit"
    assert "set timestamp_unit='ms'" in row.detail
    times, _ = _times([text, beside or text], timestamp_unit="ms")
    assert PAST <= times[0] <= PAST + timedelta(milliseconds=1)


def test_missing_times() -> None:
    assert _times(pa.array([PAST, None], pa.timestamp("us", "UTC"))) == ([PAST], {1: ["time is missing"]})
    assert _times(pa.nulls(2)) == ([], {0: ["time is missing"], 1: ["time is missing"]})
    batch = rows_of(2, at=["2026-01-01T10:00:00Z", ""], guess=["1", "1"])
    assert reasons(check(checker(), batch, untyped=True)) == {1: ["time is missing"]}


# -- no time column ------------------------------------------------------------------------------------------


def test_rows_without_times_get_the_start_of_the_run() -> None:
    columns = Columns("id", None, "guess")
    checks = checker(columns=columns)
    batches = [rows_of(2).drop_columns(["at"]), rows_of(1).drop_columns(["at"])]
    times = [time for batch in batches for time in check(checks, batch).rows.column("__time").to_pylist()]
    assert times == [NOW - timedelta(seconds=2)] * 3


def test_rows_without_times_can_get_a_set_time() -> None:
    checks = checker(columns=Columns("id", None, "guess"), default_time=PAST.astimezone(PLUS_TWO))
    assert check(checks, rows_of(1).drop_columns(["at"])).rows.column("__time").to_pylist() == [PAST]


# -- times as features ---------------------------------------------------------------------------------------


def test_datetime_features_may_be_of_any_time() -> None:
    values = [datetime(1, 1, 1, tzinfo=UTC), None, datetime(9999, 12, 31, tzinfo=UTC)]
    checked = check(checker({"d": "datetime"}), rows_of(3, d=pa.array(values, pa.timestamp("us", "UTC"))))
    assert checked.findings == ()
    assert checked.rows.column("d").to_pylist() == values


def test_datetime_features_within_what_rfc_3339_can_write() -> None:
    checked = check(checker({"d": "datetime"}), rows_of(2, d=pa.array([2**60, 0], pa.timestamp("ms", "UTC"))))
    assert reasons(checked) == {0: ["time is outside the years 1 to 9999"]}


# -- settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timezone": "Mars/Olympus"}, "timezone='Mars/Olympus' is no known time zone"),
        ({"timestamp_unit": "minutes"}, "timestamp_unit='minutes' is unknown"),
        ({"non_finite": "zero"}, "non_finite='zero' is unknown"),
        ({"default_time": datetime(2026, 1, 1)}, "default_time has no zone"),
    ],
)
def test_options_are_checked_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DeepchecksConfigError, match=words):
        CheckOptions(**options)


# -- late rows -----------------------------------------------------------------------------------------------


def test_late_rows_are_older_than_the_watermark() -> None:
    times = pa.array(
        [PAST, PAST - timedelta(microseconds=1), PAST + timedelta(1), None], pa.timestamp("us", "UTC")
    )
    assert late(times, PAST).to_pylist() == [False, True, False, False]
    assert late(times, PAST.astimezone(PLUS_TWO)).to_pylist() == [False, True, False, False]


def test_plain_times_are_not_copied() -> None:
    values = pa.array(np.arange(10), pa.timestamp("us", "UTC"))
    assert cast_time(values, timezone=None).values.buffers()[1].address == values.buffers()[1].address
