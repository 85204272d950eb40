# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Ids, categories and classes: what becomes text, and what text the server cannot take."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from airflow_provider_deepchecks.records.columns import Columns
from tests.records.checking import PAST, check, checker, label_checker, only_reason, reasons, rows_of

NAN, INF = float("nan"), float("inf")
UUID = uuid.UUID("12345678-1234-5678-9abc-def012345678")


def _invalid_utf8(raw: bytes, kind: pa.DataType | None = None) -> pa.Array:
    offsets = pa.py_buffer(
        np.array([0, len(raw)], np.int32 if kind in (None, pa.string()) else np.int64).tobytes()
    )
    return pa.Array.from_buffers(kind or pa.string(), 1, [None, offsets, pa.py_buffer(raw)])


# -- sample ids ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array(["a", "0"]), ["a", "0"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([17, -3]), ["17", "-3"]),
        (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"]),
        (pa.array([1, 2], pa.int8()).dictionary_encode(), ["1", "2"]),
        (pa.array([Decimal(12), Decimal(7)], pa.decimal128(38, 0)), ["12", "7"]),
        (pa.array(["é", "🙂"]), ["é", "🙂"]),
        (pa.array([" a ", "A"]), [" a ", "A"]),
        (pa.array(pd.Series(["a", "b"], dtype="string")), ["a", "b"]),
        (pl.Series(["a", "b"], dtype=pl.Categorical).to_arrow(), ["a", "b"]),
    ],
)
def test_ids_become_text(values: Any, text: list[str]) -> None:
    checked = check(checker(), rows_of(2, id=values))
    assert checked.findings == ()
    assert checked.rows.column("_dc_sample_id").to_pylist() == text


@pytest.mark.skipif(not hasattr(pa, "uuid"), reason="this pyarrow has no UUID type")
def test_uuids_become_text() -> None:
    values = pa.array([UUID.bytes, uuid.UUID(int=0).bytes, None], pa.uuid())
    checked = check(checker({"c": "categorical"}), rows_of(3, id=values, c=values))
    assert checked.rows.column("_dc_sample_id").to_pylist() == [str(UUID), str(uuid.UUID(int=0))]
    assert checked.rows.column("c").to_pylist() == [str(UUID), str(uuid.UUID(int=0))]
    assert only_reason(checked) == "sample id is missing"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pa.array(["ok", None]), "sample id is missing"),
        (pa.array(["ok", ""]), "sample id is empty"),
        (pa.array(["ok", "x" * 2001]), "sample id is over 2,000 bytes"),
        (pa.array(["ok", "é" * 1001]), "sample id is over 2,000 bytes"),
        (pa.array(["ok", "a\0b"]), "text holds a NUL character"),
        (pa.array([1, None]), "sample id is missing"),
    ],
)
def test_ids_that_the_server_chokes_on(values: Any, reason: str) -> None:
    checked = check(checker(), rows_of(2, id=values))
    assert only_reason(checked) == reason
    assert checked.rows.num_rows == 1
    assert checked.bad_positions().tolist() == [1]


def test_ids_of_2000_bytes_are_fine() -> None:
    assert check(checker(), rows_of(id=["x" * 2000])).findings == ()


def test_a_source_without_any_id() -> None:
    checked = check(checker(), rows_of(2, id=pa.nulls(2)))
    assert checked.counts() == {"sample id is missing": 2}
    assert checked.bad_ids() == [None, None]


def test_ids_that_are_no_utf8_are_named_readably() -> None:
    checked = check(checker(), rows_of(id=_invalid_utf8(b"a\xed\xa0\x80")))  # a lone surrogate
    (row,) = checked.bad_rows()
    assert row.reason == "text is not valid Unicode"
    assert row.sample_id == "a\\xed\\xa0\\x80"
    assert "lone surrogate" in row.detail


def test_numbers_and_spaces_in_ids_stay_as_they_are_in_untyped_sources() -> None:
    batch = rows_of(2, id=["007", ""], at=["2026-01-01T00:00:00Z"] * 2, guess=["1"] * 2)
    checked = check(checker(), batch, untyped=True)
    assert checked.rows.column("_dc_sample_id").to_pylist() == ["007"]
    assert only_reason(checked) == "sample id is empty"


# -- categories ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array(["x", None, ""]), ["x", None, ""]),
        (pa.array(["x", None, "y"], pa.large_string()), ["x", None, "y"]),
        (pa.array(["x", None, "y"]).dictionary_encode(), ["x", None, "y"]),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["x", None, "y"])), ["x", None, "y"]),
        (pa.array(pd.Categorical(["x", None, "y"])), ["x", None, "y"]),
        (pa.array(pd.Categorical([1, 2, None])), ["1", "2", None]),
        (pa.array([1.0, 1.5, None]), ["1", "1.5", None]),
        (pa.array([NAN, INF, -0.0]), [None, None, "0"]),
        (pa.array([1e15, 1e-7, 123456789.0]), ["1000000000000000", "0.0000001", "123456789"]),
        (pa.array([1e16, 2.0**60, 2.0**64]), ["10000000000000000", str(2**60), str(2**64)]),
        (pa.array([10**16, 2**60, None]), ["10000000000000000", str(2**60), None]),
        (pa.array([-1e16, -(2.0**70), 1.25e-9]), ["-10000000000000000", str(-(2**70)), "0.00000000125"]),
        (
            pa.array([Decimal("1.000E-7"), Decimal("0.0000001250"), Decimal("1E+16")], pa.decimal128(38, 10)),
            ["0.0000001", "0.000000125", "10000000000000000"],
        ),
        (
            pa.array([Decimal("1.2345E+6"), None, Decimal("-1E+2")], pa.decimal128(10, -2)),
            ["1234500", None, "-100"],
        ),
        (pa.array(np.array([0.1, 3, 2.5], np.float32)), ["0.1", "3", "2.5"]),
        (pa.array(np.array([0.5, 3, 2.5], np.float16)), ["0.5", "3", "2.5"]),
        (pa.array([5, -1, None]), ["5", "-1", None]),
        (pa.array([2**63, 1, 2], pa.uint64()), ["9223372036854775808", "1", "2"]),
        (pa.array([Decimal("1.50"), Decimal("-2.00"), Decimal("0.00")]), ["1.5", "-2", "0"]),
        (pa.array([Decimal("10"), Decimal("100"), None]), ["10", "100", None]),
        (
            pa.array([Decimal("0E-10"), Decimal("10.0000000000"), None], pa.decimal128(20, 10)),
            ["0", "10", None],
        ),
        (pa.nulls(3), [None, None, None]),
        (pa.array(["x", None, "y"]).dictionary_encode().slice(0, 3), ["x", None, "y"]),
    ],
)
def test_categories(values: Any, text: list[str | None]) -> None:
    checked = check(checker({"c": "categorical", "t": "text"}), rows_of(3, c=values, t=values))
    assert checked.findings == ()
    assert checked.rows.column("c").to_pylist() == text
    assert checked.rows.column("t").to_pylist() == text
    assert checked.rows.column("c").type == pa.string()


def test_nan_is_no_category_when_non_finite_is_invalid() -> None:
    checked = check(checker({"c": "categorical"}, non_finite="invalid"), rows_of(3, c=[1.0, NAN, INF]))
    assert reasons(checked) == {1: ["NaN or infinite"], 2: ["NaN or infinite"]}
    assert checked.rows.column("c").to_pylist() == ["1"]


def test_a_number_has_one_name_whatever_its_type() -> None:
    numbers = [0, -1, 7, 10**15, 10**16, 2**53, 2**62]
    as_integers, as_doubles = pa.array(numbers), pa.array([float(number) for number in numbers])
    as_decimals = pa.array([Decimal(number) for number in numbers], pa.decimal256(76, 38))
    for values in (as_integers, as_doubles, as_decimals, as_decimals.cast(pa.decimal128(38, 0))):
        checked = check(checker({"c": "categorical"}), rows_of(len(numbers), c=values))
        assert checked.rows.column("c").to_pylist() == [str(number) for number in numbers]


def test_run_length_encoded_and_extension_columns_are_unwrapped() -> None:
    encoded = pc.run_end_encode(pa.array(["x", "x", "y"]))
    rows = check(checker({"c": "categorical"}), rows_of(3, c=encoded)).rows
    assert rows.column("c").to_pylist() == ["x", "x", "y"]
    if hasattr(pa, "json_"):
        value = pa.array(['{"a":1}'], pa.json_())
        assert check(checker({"c": "text"}), rows_of(c=value)).rows.column("c").to_pylist() == ['{"a":1}']


def test_empty_text_stays_a_category_in_untyped_sources() -> None:
    batch = rows_of(at=["2026-01-01T00:00:00Z"], guess=["1"], c=[""])
    assert check(checker({"c": "categorical"}), batch, untyped=True).rows.column("c").to_pylist() == [""]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_text_the_server_chokes_on(kind: pa.DataType) -> None:
    values = pa.array(["good", "a\0b", None, "\0"], kind)
    checked = check(checker({"c": "text"}), rows_of(4, c=values))
    assert reasons(checked) == {1: ["text holds a NUL character"], 3: ["text holds a NUL character"]}
    assert checked.rows.column("c").to_pylist() == ["good", None]


def test_a_nul_in_a_slice_left_out_harms_nobody() -> None:
    batch = rows_of(3, c=["\0", "good", "ü"]).slice(1)
    checked = check(checker({"c": "text"}), batch)
    assert checked.findings == ()
    assert checked.rows.column("c").to_pylist() == ["good", "ü"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("raw", [b"\xed\xa0\x80", b"caf\xe9", b"\xff\0"])
def test_text_that_is_no_utf8(raw: bytes, kind: pa.DataType) -> None:
    checked = check(checker({"c": "text"}), rows_of(c=_invalid_utf8(raw, kind)))
    found = reasons(checked)[0]
    assert "text is not valid Unicode" in found
    assert ("text holds a NUL character" in found) == (b"\0" in raw)


def test_unused_bad_categories_harm_nobody() -> None:
    values = pa.DictionaryArray.from_arrays(pa.array([1, 1]), pa.array(["a\0b", "good"]))
    assert check(checker({"c": "categorical"}), rows_of(2, c=values)).findings == ()


def test_slices_of_text_columns_beyond_2_gib() -> None:
    characters = np.zeros(2**31 + 8, np.uint8)  # but for the end never touched, so it takes no memory
    characters[-6:] = np.frombuffer(b"foobar", np.uint8)
    offsets = np.array([0, 2**31 + 2, 2**31 + 5, 2**31 + 8], np.int64)
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(characters)]
    text = pa.Array.from_buffers(pa.large_string(), 3, buffers)
    checked = check(checker({"c": "text"}), rows_of(3, c=text).slice(1))
    assert checked.rows.column("c").to_pylist() == ["foo", "bar"]


# -- classes -------------------------------------------------------------------------------------------------

BINARY: Any = {"task_type": "binary", "classes": ["0", "1"]}


@pytest.mark.parametrize(
    "values",
    [pa.array(["0", "1"]), pa.array([0, 1]), pa.array([0.0, 1.0]), pa.array(["0", "1"]).dictionary_encode()],
)
def test_predicted_classes(values: Any) -> None:
    rows = check(checker(**BINARY), rows_of(2, guess=values)).rows
    assert rows.column("_dc_prediction").to_pylist() == ["0", "1"]


@pytest.mark.parametrize("task_type", ["binary", "multiclass"])
def test_a_prediction_of_a_class_that_the_version_does_not_know(task_type: str) -> None:
    checked = check(checker(task_type=task_type, classes=["0", "1"]), rows_of(3, guess=["1", "2", None]))
    assert reasons(checked) == {1: ["class is unknown to the version"], 2: ["value is missing"]}
    assert "'2' (the version has '0', '1')" in next(checked.bad_rows()).detail


def test_many_classes_are_not_all_listed() -> None:
    classes = [f"c{number:02}" for number in range(30)]
    checked = check(checker(task_type="multiclass", classes=classes), rows_of(guess=["zzz"]))
    assert next(checked.bad_rows()).detail.endswith("'c09', ...)")


def test_predictions_without_declared_classes() -> None:
    assert check(checker(task_type="multiclass"), rows_of(3, guess=["a", "b", "c"])).findings == ()
    checks = checker(task_type="binary")
    assert check(checks, rows_of(2, guess=["a", "a"])).findings == ()
    assert check(checks, rows_of(2, guess=["b", "a"]), first=2).findings == ()
    checked = check(checks, rows_of(2, guess=["a", "c"]), first=4)
    assert reasons(checked) == {5: ["third class of a binary model"]}
    assert "seen so far: 'a', 'b'" in next(checked.bad_rows()).detail


def test_missing_predictions_of_an_untyped_source() -> None:
    batch = rows_of(at=["2026-01-01T00:00:00Z"], guess=[""])
    assert only_reason(check(checker(**BINARY), batch, untyped=True)) == "value is missing"


def test_nan_is_no_prediction() -> None:
    checked = check(checker(**BINARY), rows_of(2, guess=[1.0, NAN]))
    assert reasons(checked) == {1: ["NaN or infinite"]}


# -- labels --------------------------------------------------------------------------------------------------


def _labels(values: Any, **settings: Any) -> Any:
    values = values if isinstance(values, pa.Array) else pa.array(values)
    ids = [f"s{number}" for number in range(len(values))]
    return check(label_checker(**settings), pa.RecordBatch.from_pydict({"id": ids, "truth": values}))


@pytest.mark.parametrize(
    "bad",
    [
        {"id": [None, "b", "c"]},
        {"at": pa.array([dt.datetime(1960, 1, 1, tzinfo=dt.UTC), PAST, PAST])},
        {"x": ["\0", "y", "z"]},
        {"guess": ["\0", "yes", "no"]},
    ],
    ids=["id", "time", "feature", "prediction"],
)
def test_a_row_that_cannot_be_sent_does_not_tell_the_classes(bad: dict[str, Any]) -> None:
    rows = rows_of(3, **({"guess": ["typo", "yes", "no"], "x": ["x", "y", "z"]} | bad))
    checks = checker({"x": "text"}, task_type="binary")
    assert check(checks, rows).rows["_dc_prediction"].to_pylist() == ["yes", "no"]
    third = checks.check(rows_of(1, guess=["typo"], x=["x"]), 3)
    assert reasons(third) == {3: ["third class of a binary model"]}


def test_labels_of_a_third_class() -> None:
    checked = _labels(["0", "2", "1"], **BINARY)
    assert reasons(checked) == {1: ["third class of a binary model"]}
    checked = _labels(["x", "y", "z", "x"], task_type="binary")
    assert reasons(checked) == {2: ["third class of a binary model"]}


def test_undeclared_labels_of_a_multiclass_model_pass_and_are_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        checked = _labels(["a", "zzz", "zzz", "b"], task_type="multiclass", classes=["a", "b", "c"])
    assert checked.findings == ()
    assert [record.getMessage() for record in caplog.records] == [
        "Label 'zzz' is none of the declared classes; the server takes it all the same."
    ]


@pytest.mark.parametrize(
    ("task_type", "values", "sent"),
    [
        ("regression", [1, 2], [1.0, 2.0]),
        ("regression", pa.array([Decimal("1.5"), Decimal("2")]), [1.5, 2.0]),
        ("binary", [0.0, 1.0], ["0", "1"]),
        ("multiclass", [0, 7], ["0", "7"]),
        ("multiclass", ["", "a"], ["", "a"]),
    ],
)
def test_labels_as_the_model_has_them(task_type: str, values: Any, sent: list[Any]) -> None:
    checked = _labels(values, task_type=task_type)
    assert checked.findings == ()
    assert checked.rows.column("_dc_label").to_pylist() == sent


@pytest.mark.parametrize("task_type", ["regression", "binary"])
def test_null_labels_are_sent_only_when_allowed(task_type: str) -> None:
    values = pa.array([1, None])
    assert reasons(_labels(values, task_type=task_type)) == {1: ["value is missing"]}
    checked = _labels(values, task_type=task_type, allow_null=True)
    assert checked.findings == ()
    assert checked.rows.column("_dc_label").null_count == 1
    assert _labels(pa.nulls(2), task_type=task_type, allow_null=True).rows.num_rows == 2


def test_nan_labels_are_bad() -> None:
    assert reasons(_labels([1.0, NAN])) == {1: ["NaN or infinite"]}


def test_label_rows_need_no_time() -> None:
    columns = Columns("id", "at", label="truth")
    batch = rows_of(2, at=pa.array([None, 4_000_000_000], pa.timestamp("s", "UTC")), truth=[1.0, 2.0])
    assert check(label_checker(columns=columns), batch).findings == ()


def test_samples_may_wait_for_their_label() -> None:
    columns = Columns("id", "at", "guess", label="truth")
    checked = check(checker(columns=columns), rows_of(4, truth=[1.0, None, NAN, 2.0]))
    assert checked.findings == ()
    assert checked.rows.column("_dc_label").to_pylist() == [1.0, None, None, 2.0]


def test_samples_with_labels_of_a_third_class_are_bad() -> None:
    columns = Columns("id", "at", "guess", label="truth")
    checked = check(checker(columns=columns, **BINARY), rows_of(2, guess=["0", "1"], truth=["1", "2"]))
    assert reasons(checked) == {1: ["third class of a binary model"]}
