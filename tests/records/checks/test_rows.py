# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A batch after its check: good rows, bad rows, and all reasons of each."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_deepchecks.records.checks import limits
from airflow_provider_deepchecks.records.chunks.encode import encode_samples
from airflow_provider_deepchecks.records.reasons import Reason, shown
from tests.records.checking import check, checker, label_checker, only_reason, reasons, rows_of

FEATURES = {"income": "numeric", "age": "integer", "city": "categorical"}


def _mixed() -> pa.RecordBatch:
    return rows_of(
        5,
        id=["a", None, "c", "d", "e"],
        income=[1.0, 2.0, float("nan"), 4.0, 5.0],
        age=[1.0, 2.5, 3.0, 1e12, 5.0],
        city=["x", "y", "z", "a\0b", None],
    )


def test_every_reason_of_a_row_is_told() -> None:
    checked = check(checker(FEATURES, non_finite="invalid"), _mixed(), first=100)
    assert reasons(checked) == {
        101: ["sample id is missing", "not a whole number"],
        102: ["NaN or infinite"],
        103: ["number is out of range", "text holds a NUL character"],
    }
    assert checked.counts() == {
        "sample id is missing": 1,
        "not a whole number": 1,
        "NaN or infinite": 1,
        "number is out of range": 1,
        "text holds a NUL character": 1,
    }


def test_bad_rows_stay_as_read() -> None:
    batch = _mixed()
    checked = check(checker(FEATURES, non_finite="invalid"), batch, first=100)
    assert checked.bad is not None
    assert checked.bad.schema == batch.schema
    assert checked.bad.column("age").to_pylist() == [2.5, 3.0, 1e12]
    assert checked.bad_positions().tolist() == [101, 102, 103]
    assert checked.bad_ids() == [None, "c", "d"]
    assert checked.bad_reasons() == [
        ["id: sample id is missing", "age: not a whole number: 2.5"],
        ["income: NaN or infinite: nan"],
        [
            "age: number is out of range: 1000000000000.0 (the column takes -2147483648 to 2147483647)",
            "city: text holds a NUL character: 'a\\x00b'",
        ],
    ]


def test_good_rows_keep_their_positions() -> None:
    rows = check(checker(FEATURES, non_finite="invalid"), _mixed(), first=100).rows
    assert rows.column("__position").to_pylist() == [100, 104]
    assert rows.column("_dc_sample_id").to_pylist() == ["a", "e"]


def test_clean_batches_have_nothing_bad() -> None:
    checked = check(checker(), rows_of(3))
    assert checked.bad is None
    assert checked.bad_indices.size == 0
    assert checked.bad_ids() == []
    assert list(checked.bad_rows()) == []
    assert not checked.counts()


def test_empty_batches() -> None:
    kinds = {
        "n": "numeric",
        "i": "integer",
        "c": "categorical",
        "b": "boolean",
        "d": "datetime",
        "l": "array_float",
    }
    types = [pa.float64(), pa.float64(), pa.float64(), pa.int64(), pa.string(), pa.list_(pa.float64())]
    empty = {name: pa.array([], kind) for name, kind in zip(kinds, types, strict=True)}
    for ids in (pa.array([], pa.string()), pa.array([], pa.int64()), pa.nulls(0)):
        checked = check(checker(kinds), rows_of(0, id=ids, guess=pa.array([], pa.int32()), **empty))
        assert checked.rows.num_rows == 0
        assert checked.findings == ()


def test_batches_of_one_source_have_one_schema() -> None:
    checks = checker({"c": "categorical", "n": "numeric"})
    source = pa.schema(
        [("id", pa.large_string()), ("at", pa.int64()), ("guess", pa.int64()), ("c", pa.float32())]
    )
    source = source.append(pa.field("n", pa.null()))
    good = {"id": ["a"], "at": [1_767_225_600], "guess": [1], "c": [1.5], "n": [None]}
    bad = {**good, "id": [""], "c": [float("inf")]}
    schemas = {
        check(checks, pa.RecordBatch.from_pydict(rows, source)).rows.schema
        for rows in (good, bad, {name: [] for name in good})
    }
    assert len(schemas) == 1


def test_sliced_batches() -> None:
    batch = rows_of(
        4, id=["a", "", "c", "d"], income=[1.0, 2.0, float("nan"), 4.0], age=[1, 2, 3, 4], city=["x"] * 4
    )
    checked = check(checker(FEATURES, non_finite="invalid"), batch.slice(1, 3), first=1)
    assert reasons(checked) == {1: ["sample id is empty"], 2: ["NaN or infinite"]}
    assert checked.rows.column("_dc_sample_id").to_pylist() == ["d"]


# -- more rows set aside -------------------------------------------------------------------------------------


def test_rows_can_be_set_aside_later() -> None:
    checked = check(checker(), rows_of(4, id=["a", "", "c", "d"]), first=10)
    later = checked.set_aside(
        np.array([False, True, False]), Reason.LATE, lambda row: f"row {row} of the good ones", "at"
    )
    assert later.rows.column("_dc_sample_id").to_pylist() == ["a", "d"]
    assert later.bad_positions().tolist() == [11, 12]
    assert [(row.position, row.column, row.detail) for row in later.bad_rows()] == [
        (11, "id", "sample id is empty: ''"),
        (12, "at", "row 1 of the good ones"),
    ]
    assert checked.bad_positions().tolist() == [11]


def test_nothing_set_aside_changes_nothing() -> None:
    checked = check(checker(), rows_of(2))
    assert checked.set_aside(np.zeros(2, dtype=bool), Reason.LATE, str, None) is checked


@given(st.lists(st.lists(st.booleans(), min_size=8, max_size=8), max_size=4))
@settings(max_examples=50)
def test_every_row_is_good_or_bad_whatever_is_set_aside(masks: list[list[bool]]) -> None:
    checked = check(checker(), rows_of(8, guess=[1.0, None] * 4), first=3)
    for mask in masks:
        checked = checked.set_aside(np.array(mask[: checked.rows.num_rows]), Reason.LATE, str, None)
    good, bad = checked.rows.column("__position").to_pylist(), checked.bad_positions().tolist()
    assert sorted(good + bad) == list(range(3, 11))
    assert sum(len(found) for found in reasons(checked).values()) == len(list(checked.bad_rows()))


# -- large rows ----------------------------------------------------------------------------------------------


def _with_text(*texts: str) -> pa.RecordBatch:
    return rows_of(len(texts), t=list(texts))


@pytest.mark.parametrize("character", ["x", '"', "é", "\x01", "🙂"])
def test_rows_over_the_limit_are_bad_to_the_byte(character: str) -> None:
    empty = len(encode_samples(check(checker({"t": "text"}), _with_text("")).rows)) - 2
    width = len(json.dumps(character, ensure_ascii=False).encode()) - 2
    most = (limits.MAX_ROW_BYTES - empty) // width
    checked = check(checker({"t": "text"}), _with_text(character * most, character * (most + 1), "small"))
    assert reasons(checked) == {1: ["row is over 900,000 bytes"]}
    assert checked.rows.num_rows == 2


def test_rows_of_long_lists_are_measured_too() -> None:
    kinds = {"l": "array_float", "m": "array_float_2d"}
    lists: list[list[float]] = [[0.1] * 400_000, [0.1] * 10, []]
    checked = check(checker(kinds), rows_of(3, l=lists, m=[[[1.0]], [[0.5] * 300_000], []]))
    assert reasons(checked) == {0: ["row is over 900,000 bytes"], 1: ["row is over 900,000 bytes"]}


def test_long_labels_are_measured_too() -> None:
    batch = pa.RecordBatch.from_pydict({"id": ["a", "b"], "truth": ["x" * 900_000, "y"]})
    assert only_reason(check(label_checker("multiclass"), batch)) == "row is over 900,000 bytes"


def test_the_bound_is_never_below_the_truth() -> None:
    kinds = {
        "n": "numeric",
        "b": "bigint",
        "t": "text",
        "d": "datetime",
        "l": "array_float",
        "m": "array_float_2d",
    }
    batch = rows_of(
        3,
        n=[-1.7976931348623157e308, None, 0.0],
        b=[-(2**63), None, 0],
        t=['\x01"\\é🙂', None, ""],
        d=pa.array([-(2**50), None, 0], pa.timestamp("us", "UTC")),
        l=[[-2.2250738585072014e-308] * 3, None, []],
        m=[[[1.0], [2.0, 3.0]], None, [[]]],
    )
    rows = check(checker(kinds), batch).rows
    sizes = [len(encode_samples(rows.slice(row, 1))) - len("[]") for row in range(3)]
    assert (limits._most_bytes(rows) >= sizes).all()


def test_a_long_row_makes_no_work_of_the_short_ones() -> None:
    kinds = {"t": "text", "l": "array_float", "m": "array_float_2d"}
    batch = rows_of(3, t=["", "x" * 200_000, ""], l=[[], None, [0.1] * 30_000], m=[None, [[]], [[0.1]]])
    rows = check(checker(kinds), batch).rows
    assert (limits._most_bytes(rows) > limits.MAX_ROW_BYTES).tolist() == [False, True, True]


# -- messages ------------------------------------------------------------------------------------------------


def test_values_in_messages_are_cut() -> None:
    assert shown("x" * 200) == "'" + "x" * 78 + "…"
    assert shown(1.5) == "1.5"


def _with_options(**options: Any) -> list[Any]:
    return check(checker({"x": "numeric"}, **options), rows_of(x=[float("nan")])).rows.column("x").to_pylist()


def test_non_finite_is_null_unless_told_otherwise() -> None:
    assert _with_options() == [None]
    assert _with_options(non_finite="null") == [None]
    assert _with_options(non_finite="invalid") == []
