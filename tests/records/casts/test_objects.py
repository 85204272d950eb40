# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Python objects become Arrow values exactly, or are refused with the column's name."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.casts.objects import arrow_array, arrow_type, fits, parsed_array

UTC = dt.UTC
NAN = float("nan")
UTC_TIME = pa.timestamp("us", "UTC")


def convert(values: list[Any]) -> pa.Array[Any]:
    return arrow_array(values, arrow_type(values, "Column 'x'"), "Column 'x'")


@pytest.mark.parametrize(
    ("values", "kind", "converted"),
    [
        ([None, None], pa.null(), [None, None]),
        ([1, None, -2], pa.int64(), [1, None, -2]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([True, None], pa.bool_(), [True, None]),
        ([2**63, 1], pa.uint64(), [2**63, 1]),
        ([2**70, -1], pa.decimal256(76, 0), [Decimal(2**70), Decimal(-1)]),
        ([1, NAN], pa.int64(), [1, None]),
        (["a", NAN, pd.NA], pa.string(), ["a", None, None]),
        (["007", ""], pa.string(), ["007", ""]),
        ([uuid.UUID(int=1), "b"], pa.string(), ["00000000-0000-0000-0000-000000000001", "b"]),
        ([dt.time(1, 2)], pa.string(), ["01:02:00"]),
        ([{"a": "é"}, None], pa.string(), ['{"a": "é"}', None]),
        ([b"\x00\xff"], pa.binary(), [b"\x00\xff"]),
        ([dt.date(2026, 1, 2)], pa.date32(), [dt.date(2026, 1, 2)]),
        ([dt.datetime(2026, 1, 2), pd.NaT], pa.timestamp("us"), [dt.datetime(2026, 1, 2), None]),
        (
            [np.datetime64("2026-01-02T03:04:05"), None],
            pa.timestamp("us"),
            [dt.datetime(2026, 1, 2, 3, 4, 5), None],
        ),
        ([[1, 2], [3.5], None], pa.list_(pa.float64()), [[1.0, 2.0], [3.5], None]),
        ([[[1], []], [[2, 3]]], pa.list_(pa.list_(pa.int64())), [[[1], []], [[2, 3]]]),
        ([np.array([1.5, 2.5])], pa.list_(pa.float64()), [[1.5, 2.5]]),
        ([np.int64(3), np.float32(0.5)], pa.float64(), [3.0, 0.5]),
        ([np.bool_(True), False], pa.bool_(), [True, False]),
        ([np.str_("a")], pa.string(), ["a"]),
        (
            [np.datetime64("2026-01-02T03:04:05.123456", "ns"), np.datetime64("NaT")],
            pa.timestamp("us"),
            [dt.datetime(2026, 1, 2, 3, 4, 5, 123456), None],
        ),
        (
            [np.datetime64("2026-01-02", "D"), np.datetime64("1970-01-01T00:00:01", "ns")],
            pa.timestamp("us"),
            [dt.datetime(2026, 1, 2), dt.datetime(1970, 1, 1, 0, 0, 1)],
        ),
        (
            [np.timedelta64(5, "D"), dt.timedelta(5), np.timedelta64("NaT"), np.timedelta64(7, "us")],
            pa.string(),
            ["5 days, 0:00:00", "5 days, 0:00:00", None, "0:00:00.000007"],
        ),
        ([1.5, pd.NA, pd.NaT, None], pa.float64(), [1.5, None, None, None]),
        ([1, pd.NA, NAN], pa.int64(), [1, None, None]),
        ([Decimal("1.5"), pd.NA, NAN, pd.NaT], pa.decimal256(76, 38), [Decimal("1.5"), None, None, None]),
        ([[1.0], NAN, pd.NA, None], pa.list_(pa.float64()), [[1.0], None, None, None]),
        ([[1.0, pd.NA], [pd.NaT]], pa.list_(pa.float64()), [[1.0, None], [None]]),
        (
            [np.array([[1.0, 2.0], [3.0, 4.0]]), pd.NA],
            pa.list_(pa.list_(pa.float64())),
            [[[1.0, 2.0], [3.0, 4.0]], None],
        ),
        ([Decimal("1.5"), Decimal("Infinity"), 2, None], pa.float64(), [1.5, float("inf"), 2.0, None]),
    ],
)
def test_values_keep_their_meaning(values: list[Any], kind: pa.DataType, converted: list[Any]) -> None:
    array = convert(values)
    assert array.type == kind
    assert array.to_pylist() == converted


def test_decimals_are_exact() -> None:
    values = [Decimal("0.1"), Decimal("-12345678901234567890.123456789"), 7, NAN, None]
    assert convert(values).to_pylist() == [*values[:2], Decimal(7), None, None]


def test_nan_stays_nan_among_floats() -> None:
    array = convert([1.5, NAN, None])
    assert array.null_count == 1
    assert np.isnan(array[1].as_py())


def test_doubles_given_as_decimals_are_doubles_again_where_they_have_too_many_digits() -> None:
    array = convert([Decimal.from_float(0.1), Decimal("1e-60"), Decimal("0.2"), 3, NAN, pd.NA])
    assert (array.type, array.to_pylist()) == (pa.float64(), [0.1, 1e-60, 0.2, 3.0, None, None])


@pytest.mark.parametrize("nan", [Decimal("NaN"), Decimal("sNaN")])
def test_nan_of_decimals_is_nan_of_floats(nan: Decimal) -> None:
    array = convert([Decimal("0.1"), nan, pd.NA])
    assert (array.type, array.null_count) == (pa.float64(), 1)
    assert array[0].as_py() == 0.1
    assert np.isnan(array[1].as_py())


def test_text_that_is_no_unicode_is_kept_for_the_checks_to_name() -> None:
    array = convert(["é", "\ud800", None, pd.NA, NAN])
    assert array.type == pa.string()
    assert array.cast(pa.binary()).to_pylist() == ["é".encode(), b"\xed\xa0\x80", None, None, None]


def test_times_of_any_zone_are_the_same_instants() -> None:
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    array = convert([dt.datetime(2026, 1, 1, 12, tzinfo=zone), dt.datetime(2026, 1, 1, 12, tzinfo=UTC)])
    assert array.type == UTC_TIME
    assert array.to_pylist() == [
        dt.datetime(2026, 1, 1, 6, 30, tzinfo=UTC),
        dt.datetime(2026, 1, 1, 12, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1, "a"], "mixes types \\(integer, text\\)"),
        ([True, 1], "mixes types \\(boolean, integer\\)"),
        ([b"a", "a"], "mixes types \\(bytes, text\\)"),
        ([1.5, "a"], "mixes types \\(float, text\\)"),
        ([dt.date(2026, 1, 1), dt.datetime(2026, 1, 1)], "mixes types \\(date, time\\)"),
        ([dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=UTC)], "with and without a time zone"),
        ([object()], "type object, which are no data"),
        ([2**60 + 1, 0.5], "does not hold double throughout"),
        ([Decimal("NaN"), Decimal("0.12345678901234567890")], "give None instead of NaN"),
        ([Decimal("-Infinity"), Decimal(2**53 + 1)], "9007199254740993, which is no float"),
        ([Decimal("1e-60"), Decimal(2**53 + 1)], "does not hold decimal256"),
        ([Decimal("1e-60"), 10**400], "does not hold decimal256"),
    ],
)
def test_what_no_type_holds_exactly_is_an_error_with_the_column(values: list[Any], told: str) -> None:
    with pytest.raises(DeepchecksSourceError, match=told) as caught:
        convert(values)
    assert "Column 'x'" in str(caught.value)


@pytest.mark.parametrize(
    ("found", "declared", "expected"),
    [
        (pa.null(), pa.string(), True),
        (pa.int64(), pa.float64(), True),
        (pa.int64(), pa.decimal128(10, 2), True),
        (pa.float64(), pa.int64(), False),
        (pa.binary(), pa.string(), False),
        (pa.timestamp("us"), UTC_TIME, False),
        (pa.list_(pa.int64()), pa.list_(pa.float64()), True),
        (pa.list_(pa.null()), pa.list_(pa.string()), True),
        (pa.list_(pa.string()), pa.string(), False),
    ],
)
def test_narrower_types_fit_into_wider_ones(
    found: pa.DataType, declared: pa.DataType, expected: bool
) -> None:
    assert fits(found, declared) is expected


def test_text_from_the_wire_is_parsed() -> None:
    assert parsed_array([b"2026-01-02 03:04:05.5", None], pa.timestamp("us"), "x").to_pylist() == [
        dt.datetime(2026, 1, 2, 3, 4, 5, 500_000),
        None,
    ]
    with pytest.raises(DeepchecksSourceError, match=r"^Column 'x' does not hold date32"):
        parsed_array([b"0000-00-00"], pa.date32(), "Column 'x'")


CELLS = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.none() | st.floats(allow_nan=False)),
    st.lists(st.none() | st.booleans()),
    st.lists(st.none() | st.text(st.characters(codec="utf-8"))),
    st.lists(st.none() | st.binary()),
    st.lists(st.none() | st.dates()),
    st.lists(st.none() | st.datetimes()),
    st.lists(
        st.none()
        | st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20)
    ),
)


@given(CELLS)
def test_cells_of_one_type_come_back_as_they_were(values: list[Any]) -> None:
    assert convert(values).to_pylist() == values
