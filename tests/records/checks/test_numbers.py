# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Numbers, booleans, lists and probabilities."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_deepchecks.records.casts.numbers import cast_number
from airflow_provider_deepchecks.records.columns import Columns
from tests.records.checking import check, checker, only_reason, reasons, rows_of

NAN, INF = float("nan"), float("inf")
D = Decimal


def _cells(kind: str, values: Any, **settings: Any) -> tuple[list[Any], dict[int, list[str]]]:
    """The wire values of the good rows, and the reasons of the bad ones."""
    values = values if isinstance(values, pa.Array) else pa.array(values)
    checked = check(checker({"x": kind}, **settings), rows_of(len(values), x=values))
    return checked.rows.column("x").to_pylist(), reasons(checked)


def _untyped(kind: str, values: list[str | None]) -> tuple[list[Any], dict[int, list[str]]]:
    rows = len(values)
    batch = rows_of(
        rows, at=["2026-01-01T00:00:00Z"] * rows, guess=["1"] * rows, x=pa.array(values, pa.string())
    )
    checked = check(checker({"x": kind}), batch, untyped=True)
    return checked.rows.column("x").to_pylist(), reasons(checked)


# -- numeric -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ([1.5, None], [1.5, None]),
        ([1, None], [1.0, None]),
        (pa.array(np.array([1, 2], np.uint8)), [1.0, 2.0]),
        (pa.array(np.array([0.5, 2], np.float16)), [0.5, 2.0]),
        (pa.array(np.array([0.1, 2], np.float32)), [0.10000000149011612, 2.0]),
        (pa.array(pd.array([1.5, None], dtype="Float64")), [1.5, None]),
        (pa.array(pd.array([1, None], dtype="Int64")), [1.0, None]),
        (pa.array([D("0.07"), None]), [0.07, None]),
        (pa.array([D("0.07"), D("-1.10")]), [0.07, -1.1]),
        (
            pa.array([D("12345678901234567890123.4567890123"), D("0")]),
            [12345678901234567890123.4567890123, 0.0],
        ),
        (pa.array([D("1e40")], pa.decimal256(60, 2)), [1e40]),
        (pa.array([1.0, 2.0]).dictionary_encode(), [1.0, 2.0]),
        ([NAN, 1.0], [None, 1.0]),
        ([INF, -INF], [None, None]),
        ([1e308, 1e308], [1e308, 1e308]),  # the sum is infinite, the numbers are not
        (pa.nulls(2), [None, None]),
        (pa.array([], pa.float64()), []),
    ],
)
def test_numeric(values: Any, sent: list[Any]) -> None:
    assert _cells("numeric", values) == (sent, {})


def test_non_finite_numbers_can_make_rows_bad() -> None:
    sent, bad = _cells("numeric", [1.0, NAN, None, -INF], non_finite="invalid")
    assert sent == [1.0, None]
    assert bad == {1: ["NaN or infinite"], 3: ["NaN or infinite"]}


@given(
    st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, places=2, max_value=10**15, min_value=-(10**15))
    )
)
def test_decimals_become_the_nearest_double(values: list[Decimal]) -> None:
    doubles = cast_number(pa.array(values, pa.decimal128(20, 2)), non_finite="null").values.to_pylist()
    assert doubles == [float(value) for value in values]


def test_slices_of_decimals() -> None:
    values = pa.array([D("1.5"), D("2.5"), D("-3.25")], pa.decimal128(10, 2)).slice(1)
    assert cast_number(values, non_finite="null").values.to_pylist() == [2.5, -3.25]


def test_numbers_from_text() -> None:
    sent, bad = _untyped("numeric", ["1.5", "-3", "1e3", " 7 ", "", None, "nan", "1,5", "abc", "0x10"])
    assert sent == [1.5, -3.0, 1000.0, 7.0, None, None, None]
    assert bad == {7: ["not a number"], 8: ["not a number"], 9: ["not a number"]}


@pytest.mark.parametrize("values", [[1.0, None], [NAN, 1.0], [1.0, INF], [1, None]])
def test_predictions_are_finite_numbers(values: list[float | None]) -> None:
    checked = check(checker(non_finite="null"), rows_of(2, guess=values))
    assert len(reasons(checked)) == 1
    assert checked.rows.column("_dc_prediction").to_pylist() == [1.0]


def test_a_source_without_any_prediction() -> None:
    checked = check(checker(), rows_of(2, guess=pa.nulls(2)))
    assert checked.counts() == {"value is missing": 2}


# -- integer and bigint --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ([3, None, -(2**31)], [3, None, -(2**31)]),
        ([3.0, None, -0.0], [3, None, 0]),
        ([NAN, INF, 2.0], [None, None, 2]),
        (pa.array([1, 2], pa.uint64()), [1, 2]),
        (pa.array([1, 2], pa.int16()), [1, 2]),
        (pa.array([D("3.00"), None]), [3, None]),
        (pa.array(pd.array([1, None], dtype="Int32")), [1, None]),
        (pa.nulls(1), [None]),
        (pa.array([], pa.int64()), []),
    ],
)
def test_integers(values: Any, sent: list[Any]) -> None:
    assert _cells("integer", values) == (sent, {})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([3.5], "not a whole number"),
        ([3_000_000_000], "number is out of range"),
        ([-3_000_000_000.0], "number is out of range"),
        ([1e300], "number is out of range"),
        (pa.array([2**63], pa.uint64()), "number is out of range"),
        (pa.array([D("3.50")]), "not a whole number"),
        (pa.array([D("1e30")], pa.decimal128(38, 2)), "number is out of range"),
    ],
)
def test_integers_that_are_none(values: Any, reason: str) -> None:
    sent, bad = _cells("integer", values)
    assert sent == []
    assert bad == {0: [reason]}


def test_every_bad_integer_is_found_among_good_ones() -> None:
    decimals = pa.array([D("1.00"), D("1.50"), None, D("1e25"), D("2.00")], pa.decimal128(38, 2))
    assert _cells("bigint", decimals) == (
        [1, None, 2],
        {1: ["not a whole number"], 3: ["number is out of range"]},
    )
    unsigned = pa.array([1, 2**63, None, 2], pa.uint64())
    assert _cells("bigint", unsigned) == ([1, None, 2], {1: ["number is out of range"]})


def test_bigints_take_64_bits() -> None:
    assert _cells("bigint", [2**63 - 1, -(2**63)]) == ([2**63 - 1, -(2**63)], {})
    assert _cells("bigint", [2.0**62]) == ([2**62], {})
    assert _cells("bigint", [2.0**63, -(2.0**63)]) == ([-(2**63)], {0: ["number is out of range"]})


def test_integers_from_text() -> None:
    sent, bad = _untyped("integer", ["3", "3.0", "1e3", "", "3.5", "x", "3000000000"])
    assert sent == [3, 3, 1000, None]
    assert bad == {4: ["not a whole number"], 5: ["not a number"], 6: ["number is out of range"]}
    assert _untyped("bigint", ["9007199254740993"]) == ([9007199254740993], {})
    assert _untyped("bigint", ["99999999999999999999"])[1] == {0: ["number is out of range"]}


def test_integers_from_text_keep_all_their_digits() -> None:
    values = [
        "9007199254740993.0",
        "-9007199254740993.",
        "9.007199254740993e15",
        "9223372036854775807.00",
        "2.5e1",
    ]
    sent, bad = _untyped("bigint", values)
    assert sent == [2**53 + 1, -(2**53) - 1, 2**53 + 1, 2**63 - 1, 25]
    assert bad == {}
    values = ["1e400", "9007199254740993.5", "1e19", "-1e400", "inf", "nan", "9223372036854775808.0"]
    out, fraction = ["number is out of range"], ["not a whole number"]
    sent, bad = _untyped("bigint", values)
    assert sent == [None, None]
    assert bad == {0: out, 1: fraction, 2: out, 3: out, 6: out}


def test_text_of_numbers_too_large_for_a_double_is_not_infinite() -> None:
    sent, bad = _untyped("numeric", ["1e400", "-1E400", "Infinity", "-inf", "1e300"])
    assert sent == [None, None, 1e300]
    assert bad == {0: ["number is out of range"], 1: ["number is out of range"]}


def test_out_of_range_tells_the_range() -> None:
    checked = check(checker({"x": "integer"}), rows_of(x=[3_000_000_000]))
    detail = next(checked.bad_rows()).detail
    assert detail == "number is out of range: 3000000000 (the column takes -2147483648 to 2147483647)"


# -- boolean -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ([True, False, None], [True, False, None]),
        ([1, 0, None], [True, False, None]),
        ([1.0, -0.0, NAN], [True, False, None]),
        (pa.array([D("1.0"), D("0.0")]), [True, False]),
        (pa.array(pd.array([True, None], dtype="boolean")), [True, None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_booleans(values: Any, sent: list[Any]) -> None:
    assert _cells("boolean", values) == (sent, {})


def test_booleans_from_text_of_numbers() -> None:
    sent, bad = _untyped("boolean", ["1.0", "0.0", "TRUE", " no ", "", "2.0", "x", "nan", "-0", "1e0"])
    assert sent == [True, False, True, False, None, None, False, True]
    assert bad == {5: ["neither true nor false"], 6: ["neither true nor false"]}


def test_booleans_that_are_none() -> None:
    assert _cells("boolean", [1, 2, None, -1]) == (
        [True, None],
        {1: ["neither true nor false"], 3: ["neither true nor false"]},
    )
    assert _cells("boolean", [1.0, NAN, 0.5], non_finite="invalid") == (
        [True],
        {1: ["NaN or infinite"], 2: ["neither true nor false"]},
    )


def test_booleans_from_text() -> None:
    sent, bad = _untyped("boolean", ["true", "F", "1", "0", "Yes", "", "maybe"])
    assert sent == [True, False, True, False, True, None]
    assert bad == {6: ["neither true nor false"]}


# -- lists ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1.0, 2.0], None, []]),
        pa.array([[1, 2], None, []], pa.large_list(pa.int32())),
        pa.array([[D("1"), D("2")], None, []]),
    ],
)
def test_lists_of_numbers(values: Any) -> None:
    sent, bad = _cells("array_float", values)
    assert sent == [[1.0, 2.0], None, []]
    assert bad == {}


def test_other_lists() -> None:
    fixed = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2))
    assert _cells("array_float", fixed)[0] == [[1.0, 2.0], None, [3.0, 4.0]]
    assert _cells("array_float", pa.array([[], None], pa.list_(pa.null())))[0] == [[], None]
    assert _cells("array_float", pa.array([[9.0], [1.0], [2.0, 3.0]]).slice(1))[0] == [[1.0], [2.0, 3.0]]
    assert _cells("array_float_2d", pa.array([[[1, 2], [3]], None, [[]], []]))[0] == [
        [[1.0, 2.0], [3.0]],
        None,
        [[]],
        [],
    ]


def test_lists_with_something_wrong() -> None:
    sent, bad = _cells("array_float", [[1.0], [1.0, None], [NAN], []], non_finite="invalid")
    assert sent == [[1.0], []]
    assert bad == {1: ["list holds a missing value"], 2: ["NaN or infinite"]}
    assert _cells("array_float", [[1.0], [NAN]]) == ([[1.0]], {1: ["list holds a missing value"]})
    sent, bad = _cells("array_float_2d", [[[1.0], None], [[1.0, NAN]], [[2.0]]], non_finite="invalid")
    assert sent == [[[2.0]]]
    assert bad == {0: ["list holds a missing value"], 1: ["NaN or infinite"]}


# -- probabilities -------------------------------------------------------------------------------------------


def _probabilities(*names: str, **columns: Any) -> Any:
    rows = len(next(iter(columns.values())))
    checks = checker(task_type="binary", classes=["a", "b"], columns=Columns("id", "at", "guess", names))
    return check(checks, rows_of(rows, guess=["a"] * rows, **columns))


def test_probabilities_of_a_column_a_class() -> None:
    p0, p1 = pa.array([0.25, None, NAN, 1]), pa.array([D("0.75"), None, None, D("0")])
    checked = _probabilities("p0", "p1", p0=p0, p1=p1)
    assert checked.findings == ()
    assert checked.rows.column("_dc_prediction_probabilities").to_pylist() == [
        [0.25, 0.75],
        None,
        None,
        [1, 0],
    ]


def test_probabilities_with_a_gap_or_infinite() -> None:
    checked = _probabilities("p0", "p1", p0=[0.5, 0.5, INF], p1=[0.5, None, 0.5])
    assert reasons(checked) == {1: ["a probability is missing"], 2: ["NaN or infinite"]}
    assert [row.column for row in checked.bad_rows()] == ["p0, p1", "p0, p1"]


def test_probabilities_of_a_single_column() -> None:
    checked = _probabilities("p", p=[[0.5, 0.5], None, [1.0], [0.2, 0.3, 0.5], [0.5, NAN], [0.5, None]])
    assert checked.rows.column("_dc_prediction_probabilities").to_pylist() == [[0.5, 0.5], None]
    assert reasons(checked) == {
        2: ["wrong number of probabilities"],
        3: ["wrong number of probabilities"],
        4: ["NaN or infinite"],
        5: ["list holds a missing value"],
    }


def test_probabilities_of_an_untyped_source() -> None:
    checks = checker(
        task_type="binary", classes=["a", "b"], columns=Columns("id", "at", "guess", ("p0", "p1"))
    )
    batch = rows_of(3, at=["2026-01-01T00:00:00Z"] * 3, guess=["a"] * 3, p0=["1", "", "x"], p1=["0", "", "0"])
    checked = check(checks, batch, untyped=True)
    assert checked.rows.column("_dc_prediction_probabilities").to_pylist() == [[1.0, 0.0], None]
    assert "not a number" in reasons(checked)[2]


def test_probabilities_that_are_all_missing() -> None:
    checked = _probabilities("p0", "p1", p0=pa.nulls(2), p1=pa.nulls(2))
    assert checked.rows.column("_dc_prediction_probabilities").to_pylist() == [None, None]
    assert only_reason(_probabilities("p0", "p1", p0=pa.nulls(1), p1=[0.5])) == "a probability is missing"
