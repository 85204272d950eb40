# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows in memory come out of a source as they went in, whatever holds them."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from airflow_provider_deepchecks.exceptions import (
    DeepchecksColumnsError,
    DeepchecksSourceError,
    DeepchecksUnusableSourceError,
)
from airflow_provider_deepchecks.records import batches as bounds
from airflow_provider_deepchecks.records.sources.source import Source, open_frame, open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

CATEGORIES = pa.dictionary(pa.int32(), pa.string())
ROWS = [
    {"id": "007", "n": 1, "x": 0.5, "ok": True, "when": dt.datetime(2026, 1, 1, 12)},
    {"id": "b", "n": 2, "x": None, "ok": False, "when": dt.datetime(2026, 1, 2, 12)},
    {"id": "é", "n": 3, "x": -1.5, "ok": None, "when": None},
]


def read(source: Source) -> pa.Table:
    batches = list(source.batches())
    assert batches
    assert all(batch.schema.names == batches[0].schema.names for batch in batches)
    return pa.concat_tables(
        [pa.Table.from_batches([batch]) for batch in batches], promote_options="permissive"
    )


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        columns(ROWS),
        pa.Table.from_pylist(ROWS),
        pa.Table.from_pylist(ROWS).to_batches()[0],
        pl.DataFrame(ROWS),
        [pa.Table.from_pylist(ROWS[:1]), pa.Table.from_pylist(ROWS[1:])],
        [pd.DataFrame(ROWS[:1], dtype=object), pd.DataFrame(ROWS[1:], dtype=object)],
        [pl.DataFrame(ROWS[:1]), pa.Table.from_pylist(ROWS[1:])],
        pd.DataFrame(ROWS, dtype=object),
        pd.DataFrame(ROWS).convert_dtypes(),
        pd.DataFrame(ROWS).convert_dtypes(dtype_backend="pyarrow"),
    ],
    ids=[
        "dicts",
        "columns",
        "table",
        "batch",
        "polars",
        "tables",
        "frames",
        "frames of several kinds",
        "objects",
        "nullable",
        "arrow-backed",
    ],
)
def test_frames_give_the_rows_they_hold_and_again(data: Any) -> None:
    source = open_frame(data)
    assert (source.rereadable, source.ordered, source.untyped) == (True, False, False)
    assert read(source).to_pylist() == ROWS
    assert read(source).to_pylist() == ROWS
    assert source.fingerprint() == open_frame(data).fingerprint()


def test_streams_give_their_rows_once() -> None:
    table = pa.Table.from_pylist(ROWS)
    for stream in (
        table.to_reader(),
        [table, table.to_reader()],
        iter(table.to_batches()),
        (pl.DataFrame([row]) for row in ROWS[:2]),
    ):
        source = open_frame(stream)
        assert not source.rereadable
        assert read(source).num_rows in (2, 3, 6)
        with pytest.raises(DeepchecksSourceError, match="only once"):
            source.batches()


def test_streams_never_look_the_same_to_a_retry() -> None:
    table = pa.Table.from_pylist(ROWS)
    assert open_frame(table.to_reader()).fingerprint() != open_frame(table.to_reader()).fingerprint()


def test_a_changed_value_changes_the_fingerprint() -> None:
    frame = pd.DataFrame(ROWS)
    before = open_frame(frame).fingerprint()
    frame.loc[1, "n"] = 20
    assert open_frame(frame).fingerprint() != before


@pytest.mark.parametrize(
    "make",
    [
        lambda values: pd.DataFrame({"id": pd.Categorical(values)}),
        lambda values: pl.DataFrame({"id": pl.Series(values, dtype=pl.Enum(values))}),
        lambda values: pa.table({"id": pa.array(values).dictionary_encode()}),
        lambda values: pa.table({"id": pa.array([[value] for value in values], pa.list_(CATEGORIES))}),
    ],
    ids=["pandas", "polars", "arrow", "nested"],
)
def test_changed_categories_change_the_fingerprint(make: Any) -> None:
    assert open_frame(make(["a", "b"])).fingerprint() == open_frame(make(["a", "b"])).fingerprint()
    assert open_frame(make(["a", "b"])).fingerprint() != open_frame(make(["c", "d"])).fingerprint()


def test_a_duckdb_relation_is_a_frame() -> None:
    connection = duckdb.connect()
    relation = connection.sql("SELECT 'a' || i AS id, i * 1.5 AS x FROM range(100000) t(i)")
    table = read(open_frame(relation))
    assert table.num_rows == 100_000
    assert table["id"][99_999].as_py() == "a99999"


def test_the_index_of_pandas_is_no_column() -> None:
    frame = pd.DataFrame({"x": [1.5]}, index=pd.Index(["a"], name="id"))
    assert read(open_frame(frame)).column_names == ["x"]
    assert read(open_frame(frame.reset_index())).column_names == ["id", "x"]


def test_numpy_floats_keep_nan_for_the_checks_to_judge() -> None:
    column = read(open_frame(pd.DataFrame({"x": [1.5, np.nan, np.inf]})))["x"]
    assert column.null_count == 0
    assert np.isnan(column[1].as_py())


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_pandas_times_keep_unit_zone_and_gaps(unit: str) -> None:
    times = (
        pd.Series(pd.to_datetime(["2026-01-01T12:00:00Z", None]))
        .dt.tz_convert("Asia/Kolkata")
        .dt.as_unit(unit)
    )
    column = read(open_frame(pd.DataFrame({"t": times, "naive": times.dt.tz_localize(None)})))
    assert column["t"].type == pa.timestamp(unit, "Asia/Kolkata")
    assert column["naive"].type == pa.timestamp(unit)
    assert column["t"].cast(pa.timestamp("us", "UTC"))[0].as_py() == dt.datetime(
        2026, 1, 1, 12, tzinfo=dt.UTC
    )
    assert column["t"][1].as_py() is None


def test_categories_and_decimals_survive() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["u", None, "v"]), "d": [Decimal("0.10"), None, Decimal("2")]})
    assert read(open_frame(frame)).to_pylist() == [
        {"c": "u", "d": Decimal("0.1")},
        {"c": None, "d": None},
        {"c": "v", "d": Decimal(2)},
    ]
    assert read(open_frame(pl.DataFrame({"c": ["u", "v"]}, schema={"c": pl.Categorical})))[
        "c"
    ].to_pylist() == ["u", "v"]


def test_sparse_and_foreign_numbers_are_read_as_their_values() -> None:
    frame = pd.DataFrame(
        {
            "s": pd.arrays.SparseArray([0, 0, 5]),
            "f": pd.arrays.SparseArray([np.nan, 1.5, 0.0]),
            "b": np.array([1.5, 2.5, 3.5], ">f8"),
        }
    )
    wanted = {"s": [0, 0, 5], "f": [1.5, 0.0], "b": [1.5, 2.5, 3.5]}
    for data in (frame, {name: frame[name] for name in frame}):
        table = read(open_frame(data))
        assert (table["s"].to_pylist(), table["b"].to_pylist()) == (wanted["s"], wanted["b"])
        assert table["f"].to_pylist()[1:] == wanted["f"]
    assert read(open_frame({"b": np.array([1, 2], ">i4")}))["b"].to_pylist() == [1, 2]


@pytest.mark.parametrize("kind", [object, "string[python]"])
def test_text_of_pandas_that_is_no_unicode_is_kept_for_the_checks_to_name(kind: Any) -> None:
    column = read(
        open_frame(pd.DataFrame({"x": pd.Series(["a", "\udc80", None], dtype=object).astype(kind)}))
    )["x"]
    assert column.cast(pa.binary()).to_pylist() == [b"a", b"\xed\xb2\x80", None]


def test_an_empty_pandas_frame_tells_no_types() -> None:
    frame = pd.DataFrame({"id": [], "x": pd.Series([], dtype="float64")})
    assert read(open_frame(frame)).schema.types == [pa.null(), pa.null()]
    rows = pd.DataFrame({"id": ["a"], "x": [1]})
    assert read(open_frame([frame, rows][i] for i in range(2))).to_pylist() == [{"id": "a", "x": 1}]


def test_a_late_value_decides_the_type_of_the_whole_column() -> None:
    rows: list[dict[str, Any]] = [{"x": None, "n": 1}] * 70_000 + [{"x": "text", "n": 1.5}]
    table = read(open_frame(rows))
    assert (table.schema.field("x").type, table.schema.field("n").type) == (pa.string(), pa.float64())
    objects = pd.DataFrame({"x": pd.Series([None] * 70_000 + ["text"], dtype=object)})
    assert read(open_frame(objects)).schema.field("x").type == pa.string()


def test_a_key_that_some_dicts_lack_is_null_there() -> None:
    assert read(open_frame([{"a": 1}, {"a": 2, "b": "x"}])).to_pylist() == [
        {"a": 1, "b": None},
        {"a": 2, "b": "x"},
    ]


def test_a_dict_takes_columns_of_every_kind() -> None:
    data = {
        "list": [1, 2.5],
        "tuple": ("a", None),
        "numpy": np.array([0.5, np.nan]),
        "strings": np.array(["a", "b"]),
        "objects": np.array(["a", None], dtype=object),
        "vectors": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "pandas": pd.Series([1, None], dtype="Int64", index=[7, 9]),
        "mixed": pd.Series([1, None], dtype=object),
        "polars": pl.Series([True, None]),
        "arrow": pa.chunked_array([[1], [2]]),
    }
    table = read(open_frame(data))
    assert np.isnan(table["numpy"][1].as_py())
    assert table.drop_columns(["numpy"]).to_pylist() == [
        {
            "list": 1.0,
            "tuple": "a",
            "strings": "a",
            "objects": "a",
            "vectors": [1.0, 2.0],
            "pandas": 1,
            "mixed": 1,
            "polars": True,
            "arrow": 1,
        },
        {
            "list": 2.5,
            "tuple": None,
            "strings": "b",
            "objects": None,
            "vectors": [3.0, 4.0],
            "pandas": None,
            "mixed": None,
            "polars": None,
            "arrow": 2,
        },
    ]
    for unreadable in (5, np.array([1j]), pl.Series([object()])):
        with pytest.raises(DeepchecksSourceError, match="Column 'x'"):
            open_frame({"x": unreadable})


@pytest.mark.parametrize("value", [5, 1.5, None, "text", b"bytes", {0: "a"}, {1, 2}])
def test_what_is_no_sequence_will_never_be_a_column(value: Any) -> None:
    with pytest.raises(
        DeepchecksUnusableSourceError, match=r"Column 'x' is of type .* no sequence of values"
    ):
        open_frame({"x": value})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (pd.DataFrame({"x": [1, "a"]}, dtype=object), "Column 'x' mixes types"),
        (pl.DataFrame({"x": [object()]}), "Column 'x' holds Python objects"),
        ([{"x": 1}, {"x": "a"}], "Column 'x' mixes types"),
        ({"x": [1, 2], "y": [1]}, "differ in length: {'x': 2, 'y': 1}"),
        ([{"x": 1}, 5], "Item 1 of the list is an object of type builtins.int"),
        (5, "object of type builtins.int"),
        (pl.LazyFrame({"x": [1]}), "collect\\(\\)"),
        (pd.DataFrame({"x": [1j]}), "Column 'x' of type complex128"),
        (
            iter([pa.table({"a": [1]}), pa.table({"b": [1]})]),
            "Batch 1 has other columns than the first one: a, b",
        ),
        (iter([pa.table({"a": [1]}), pa.table({"a": ["x"]})]), "Column 'a' is string in batch 1 and int64"),
    ],
)
def test_what_is_no_rows_is_told(data: Any, told: str) -> None:
    with pytest.raises(DeepchecksSourceError, match=told):
        list(open_frame(data).batches())


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=["1", 1]),
        pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
        {1: [1], "1": [2]},
        [{1: 1, "1": 2}],
    ],
)
def test_a_name_that_comes_twice_is_told(data: Any) -> None:
    with pytest.raises(DeepchecksColumnsError, match="more than one column named"):
        list(open_frame(data).batches())


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"a": pd.Series([], dtype=object), "b": pd.Series([], dtype="float64")}),
        pl.DataFrame(schema={"a": pl.String, "b": pl.Float64}),
        pa.table({"a": pa.array([], pa.string()), "b": pa.array([], pa.float64())}),
        pa.table({"a": pa.array([], pa.string()), "b": pa.array([], pa.float64())}).to_reader(),
        {"a": [], "b": []},
    ],
)
def test_no_rows_still_tell_their_columns(data: Any) -> None:
    table = read(open_frame(data))
    assert (table.num_rows, table.column_names) == (0, ["a", "b"])


def test_no_dicts_are_no_rows() -> None:
    assert list(open_frame([]).batches()) == []


def test_batches_are_bounded_in_rows_and_bytes_without_a_copy() -> None:
    table = pa.table({"x": pa.array(np.arange(200_000.0))})
    allocated = pa.total_allocated_bytes()
    batches = list(open_frame(table).batches())
    assert pa.total_allocated_bytes() - allocated < 100_000
    assert max(batch.num_rows for batch in batches) == bounds.BATCH_ROWS
    wide = pa.table({"x": pa.array(["y" * 1_000_000] * 40)})
    assert max(batch.nbytes for batch in open_frame(wide).batches()) <= bounds.BATCH_BYTES


def rare_columns() -> dict[str, tuple[pa.Array[Any], list[Any], pa.DataType]]:
    """Column, values and plain type; pyarrow 16 has the first two only."""
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"])
    half = pa.array(np.array([0.5, 1.5, 2.5], dtype=np.float16))
    columns: dict[str, Any] = {
        "runs": (runs, ["a", "a", "b"], pa.string()),
        "half": (half, [0.5, 1.5, 2.5], pa.float32()),
    }
    if hasattr(pa, "bool8"):
        ids = [uuid.UUID(int=1), None, uuid.UUID(int=2)]
        raw = pa.array([None if id_ is None else id_.bytes for id_ in ids], pa.binary(16))
        bits = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8()))
        columns |= {
            "view": (pa.array(["a", None, "b"], pa.string_view()), ["a", None, "b"], pa.large_string()),
            "bytes": (pa.array([b"a", None], pa.binary_view()), [b"a", None], pa.large_binary()),
            "uuid": (
                pa.ExtensionArray.from_storage(pa.uuid(), raw),
                [id_ and str(id_) for id_ in ids],
                pa.string(),
            ),
            "bit": (bits, [True, False, None], pa.bool_()),
            "list": (
                pa.array([[1], None, [2, 3]], pa.list_view(pa.int64())),
                [[1], None, [2, 3]],
                pa.list_(pa.int64()),
            ),
            "json": (
                pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}", None])),
                ["{}", None],
                pa.string(),
            ),
        }
    return columns


@pytest.mark.parametrize("name", rare_columns())
def test_rare_arrow_types_become_plain_ones(name: str) -> None:
    column, values, kind = rare_columns()[name]
    plain = read(open_frame(pa.table({"x": column})))
    assert plain["x"].to_pylist() == values
    assert plain.schema.field("x").type == kind


def test_a_stream_is_closed_when_reading_stops_early() -> None:
    closed = []

    def stream() -> Iterator[pa.RecordBatch]:
        try:
            for _ in range(10):
                yield pa.RecordBatch.from_pylist([{"a": 1}])
        finally:
            closed.append(True)

    reading: Any = open_frame(stream()).batches()
    next(reading)
    reading.close()
    assert closed == [True]


def test_an_error_of_a_generator_is_an_error_of_the_source() -> None:
    def stream() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([{"a": 1}])
        raise RuntimeError("the upstream broke\nsecret details")

    reading = open_frame(stream()).batches()
    next(reading)
    with pytest.raises(
        DeepchecksSourceError, match=r"Reading the generator of batches failed: the upstream broke$"
    ):
        next(reading)


def test_open_source_tells_rows_from_paths(tmp_path: Any) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a\n1\n")
    for paths in (path, str(path), [str(path)], (path,)):
        assert read(open_source(paths)).to_pylist() == [{"a": "1"}]
    assert read(open_source([{"a": 1}])).to_pylist() == [{"a": 1}]
    assert list(open_source([]).batches()) == []


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, dict])
def test_a_frame_tells_whether_it_is_in_order(make: Any) -> None:
    columns = {"at": [1, 2, 3], "id": ["c", "b", "a"], "x": [1.0, 2.0, 3.0]}
    assert open_frame(make(columns)).in_order("at", "id", naive_is_utc=True)
    assert not open_frame(make({**columns, "at": [1, 3, 2]})).in_order("at", "id", naive_is_utc=True)
    # Reading tells of the missing column.
    assert not open_frame(make(columns)).in_order("time", "id", naive_is_utc=True)


def test_a_stream_is_not_read_for_its_order() -> None:
    source = open_frame(pa.table({"at": [1, 2], "id": ["a", "b"]}).to_reader())
    assert not source.in_order("at", "id", naive_is_utc=True)
    assert read(source).num_rows == 2
