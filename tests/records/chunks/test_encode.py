# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The JSON of a batch says what the batch says: each float to the bit, any text, every type sent."""

from __future__ import annotations

import json
import math
import multiprocessing
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_deepchecks.records.chunks.encode import encode_labels, encode_samples, sample_columns

TIME = pa.timestamp("us", tz="UTC")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?\+00:00")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
doubles = st.floats(allow_nan=False, allow_infinity=False)
#: Arrow type of a column -> its values.
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.float64(): doubles,
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.bool_(): st.booleans(),
    pa.string(): texts,
    pa.large_string(): texts,
    pa.list_(pa.float64()): st.lists(doubles, max_size=3),
    pa.list_(pa.list_(pa.float64())): st.lists(st.lists(doubles, max_size=2), max_size=2),
    pa.null(): st.none(),
    TIME: times,
}


def _batch(**columns: Any) -> pa.RecordBatch:
    """Two rows or more; what is not given has a plain default."""
    rows = len(next(iter(columns.values())))
    head: dict[str, Any] = {
        "_dc_sample_id": [f"s{n}" for n in range(rows)],
        "__time": pa.array([NOON] * rows, TIME),
        "_dc_prediction": [0.5] * rows,
    }
    tail = {"__position": pa.array(range(rows), pa.int64())}
    return pa.RecordBatch.from_pydict(head | columns | tail)


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    rows = draw(st.integers(0, 5))
    reserved = {"_dc_sample_id", "_dc_time", "_dc_label", "_dc_prediction_probabilities", "__position"}
    names = draw(st.lists(texts.filter(lambda name: name not in reserved), max_size=6, unique=True))
    columns: dict[str, Any] = {
        "_dc_sample_id": pa.array(draw(st.lists(texts, min_size=rows, max_size=rows)), pa.string()),
        "__time": pa.array(draw(st.lists(times, min_size=rows, max_size=rows)), TIME),
    }
    for name in names:
        kind = draw(st.sampled_from(list(VALUES)))
        values = draw(st.lists(st.none() | VALUES[kind], min_size=rows, max_size=rows))
        columns[name] = pa.array(values, kind)
        if pa.types.is_string(kind) and draw(st.booleans()):
            columns[name] = columns[name].dictionary_encode()
    return pa.RecordBatch.from_pydict(columns)


def _same(sent: Any, value: Any) -> bool:
    if isinstance(value, datetime):
        return bool(RFC_3339.fullmatch(sent)) and datetime.fromisoformat(sent) == value
    if isinstance(value, list):
        return len(sent) == len(value) and all(map(_same, sent, value))
    if isinstance(value, float):
        return type(sent) is float and sent == value and math.copysign(1, sent) == math.copysign(1, value)
    return type(sent) is type(value) and sent == value


@given(batches())
def test_json_says_what_the_batch_says(batch: pa.RecordBatch) -> None:
    columns = sample_columns(batch.schema)
    sent = json.loads(encode_samples(batch))
    assert len(sent) == batch.num_rows
    for row, expected in zip(sent, batch.to_pylist(), strict=True):
        assert list(row) == list(columns)
        assert all(_same(row[key], expected[name]) for key, name in columns.items()), (row, expected)


@given(st.lists(doubles, min_size=1, max_size=50))
def test_floats_come_back_to_the_bit(values: list[float]) -> None:
    sent = [row["f"] for row in json.loads(encode_samples(_batch(f=values)))]
    assert [v.hex() for v in sent] == [v.hex() for v in values]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (0.1 + 0.2, "0.30000000000000004"),
        (-0.0, "-0.0"),
        (3.0, "3.0"),
        (5e-324, "5e-324"),
        (2**53 + 1, "9007199254740993"),
        (-(2**63), "-9223372036854775808"),
        (True, "true"),
        (None, "null"),
        ('"\\', r'"\"\\"'),
        ("a\nb\x00\x1f", r'"a\nb\u0000\u001f"'),
    ],
)
def test_exact_text_of_a_value(value: Any, text: str) -> None:
    assert encode_samples(_batch(f=[value])).endswith(f'"f":{text}}}]'.encode())


@pytest.mark.parametrize("value", ["\u2028\u2029", "😀", "é", "\x7f", "</script>", ',"x":null'])
def test_text_comes_back(value: str) -> None:
    (row,) = json.loads(encode_samples(_batch(**{value: [value]})))
    assert row[value] == value


def test_value_that_is_no_number_is_never_written_as_one() -> None:
    (first, second, third) = json.loads(
        encode_samples(_batch(f=[math.nan, math.inf, -math.inf])), parse_constant=pytest.fail
    )
    assert first["f"] is second["f"] is third["f"] is None


def test_id_and_time_come_first_and_our_own_columns_stay_here() -> None:
    batch = _batch(a=[1], __hour=[2], _dc_label=["x"])
    assert json.loads(encode_samples(batch)) == [
        {
            "_dc_sample_id": "s0",
            "_dc_time": "2026-01-01T12:00:00+00:00",
            "_dc_prediction": 0.5,
            "a": 1,
            "__hour": 2,
        }
    ]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (NOON, TIME, "2026-01-01T12:00:00+00:00"),
        (NOON + timedelta(microseconds=1), TIME, "2026-01-01T12:00:00.000001+00:00"),
        (NOON, pa.timestamp("ms", tz="Asia/Kolkata"), "2026-01-01T12:00:00+00:00"),
        (NOON.replace(tzinfo=None), pa.timestamp("ns"), "2026-01-01T12:00:00+00:00"),
        (date(2026, 1, 1), pa.date32(), "2026-01-01T00:00:00+00:00"),
    ],
)
def test_times_are_rfc_3339_in_utc(value: Any, kind: pa.DataType, text: str) -> None:
    (row,) = json.loads(encode_samples(_batch(seen=pa.array([value], kind))))
    assert row["seen"] == text


def test_missing_probabilities_are_left_out_row_by_row() -> None:
    tricky = '\\,"_dc_prediction_probabilities":null'
    probabilities = pa.array([[0.25, 0.75], None, None], pa.list_(pa.float64()))
    batch = _batch(f=[tricky, tricky, "x"], _dc_prediction_probabilities=probabilities, z=[None, 1, 2])
    rows = json.loads(encode_samples(batch))
    assert [row.get("_dc_prediction_probabilities", "absent") for row in rows] == [
        [0.25, 0.75],
        "absent",
        "absent",
    ]
    assert [row["f"] for row in rows] == [tricky, tricky, "x"]
    assert [row["z"] for row in rows] == [None, 1, 2]


@pytest.mark.parametrize("labels", [[1.5, None, -0.0], ["a", None, '"']])
def test_labels_are_id_and_label_only(labels: list[Any]) -> None:
    rows = json.loads(encode_labels(_batch(_dc_label=labels)))
    assert rows == [{"_dc_sample_id": f"s{n}", "_dc_label": label} for n, label in enumerate(labels)]


def test_empty_batch_is_an_empty_array() -> None:
    assert encode_samples(_batch(f=pa.array([1.0])).slice(0, 0)) == b"[]"


def test_slice_of_a_batch_is_encoded_alone() -> None:
    batch = _batch(f=["a", "b", "c"], g=pa.array(["x", "y", "x"]).dictionary_encode())
    assert json.loads(encode_samples(batch.slice(1, 1))) == json.loads(encode_samples(batch))[1:2]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"\x00"], pa.binary()),
        pa.array([1], pa.decimal128(5, 2)),
        pa.array([{"a": 1}]),
        pa.array([timedelta(seconds=1)]),
        pa.array([[b"x"]], pa.list_(pa.binary())),
    ],
    ids=lambda column: str(column.type),
)
def test_type_without_json_form_is_named(column: pa.Array) -> None:
    with pytest.raises(TypeError, match=re.escape(f"column 'odd': type {column.type}")):
        encode_samples(_batch(odd=column))


def _encode_in_child(batch: pa.RecordBatch, answers: Any) -> None:
    answers.put(len(json.loads(encode_samples(batch))))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
def test_task_forked_from_a_process_that_used_polars_does_not_hang() -> None:
    # This starts Polars' threads.
    pl.DataFrame({"a": range(100_000)}).sort("a", descending=True).group_by("a").len()
    batch = _batch(f=[1.0] * 1000, c=pa.array(["x"] * 1000).dictionary_encode(), p=[[0.5, 0.5]] * 1000)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_encode_in_child, args=(batch, answers), daemon=True)
    child.start()
    try:
        assert answers.get(timeout=30) == 1000
    finally:
        child.kill()
        child.join()
