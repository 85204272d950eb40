# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from airflow_provider_deepchecks.exceptions import (
    DeepchecksColumnsError,
    DeepchecksConfigError,
    DeepchecksSourceError,
)
from airflow_provider_deepchecks.hooks.arguments import in_class_order, label_columns, sample_columns
from airflow_provider_deepchecks.records.sources.frames import open_frame
from tests.forking import run_forked

IDS = ["a", "b", "c"]
SEQUENCES = {
    "list": list,
    "tuple": tuple,
    "iterator": iter,
    "ndarray": np.array,
    "objects": lambda values: np.array(values, dtype=object),
    "pandas": lambda values: pd.Series(values, index=[7, 7, 9]),
    "index": pd.Index,
    "polars": pl.Series,
    "arrow": pa.array,
    "chunked": lambda values: pa.chunked_array([values[:1], values[1:]]),
}


def table(columns: dict[str, object]) -> pa.Table:
    """The columns as the upload reads them."""
    return pa.Table.from_batches(open_frame(columns).batches())


@pytest.mark.parametrize("make", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_any_sequence(make):
    read = table(sample_columns(make(IDS), None, make([1.0, 2.0, 3.0]), None, make([10, 20, 30])))
    assert read.to_pydict() == {
        "_dc_sample_id": IDS,
        "_dc_prediction": [1.0, 2.0, 3.0],
        "_dc_time": [10, 20, 30],
    }
    assert table(label_columns(make(IDS), make([0, 1, 0]))).to_pydict() == {
        "_dc_sample_id": IDS,
        "_dc_label": [0, 1, 0],
    }


@pytest.mark.parametrize(
    "times",
    [
        [datetime(2026, 1, 1, tzinfo=UTC)] * 3,
        pd.date_range("2026-01-01", periods=3, tz="UTC"),
        np.array(["2026-01-01"] * 3, dtype="datetime64[ns]"),
        ["2026-01-01T00:00:00Z"] * 3,
    ],
)
def test_times_go_through_as_they_are(times):
    read = table(sample_columns(IDS, None, [1, 2, 3], None, times))
    assert str(read.column("_dc_time")[0].as_py()).startswith("2026-01-01")


DATA = {
    "dict": lambda columns: columns,
    "pandas": lambda columns: pd.DataFrame(columns, index=[5, 5, 1]),
    "polars": pl.DataFrame,
    "arrow": pa.table,
    "batch": pa.RecordBatch.from_pydict,
    "rows": lambda columns: pa.table(columns).to_pylist(),
}


@pytest.mark.parametrize("make", DATA.values(), ids=DATA.keys())
def test_any_data(make):
    columns = {"x": [1.5, 2.5, 3.5], "city": ["u", "v", "w"]}
    read = table(sample_columns(IDS, make(columns), [1, 2, 3], None, None)).to_pydict()
    assert read == {"_dc_sample_id": IDS, "_dc_prediction": [1, 2, 3], **columns}


PROBAS = [[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]]


@pytest.mark.parametrize(
    "probas",
    [
        PROBAS,
        np.array(PROBAS),
        np.array(PROBAS)[:, ::-1][:, ::-1],
        np.array(PROBAS, dtype=np.float32),
        pd.DataFrame(PROBAS, columns=["no", "yes"]),
        pl.DataFrame(PROBAS, orient="row"),
        pd.Series(PROBAS),
        pa.array(PROBAS),
        [np.array(row) for row in PROBAS],
        iter(PROBAS),
    ],
)
def test_probabilities_one_column_a_class(probas):
    read = table(sample_columns(IDS, None, ["n", "y", "n"], probas, None))
    assert read.column("_dc_prediction_probabilities").to_pylist() == PROBAS


def test_missing_probabilities_of_a_row():
    read = table(sample_columns(IDS, None, ["n", "y", "n"], [None, [0.5, 0.5], None], None))
    assert read.column("_dc_prediction_probabilities").to_pylist() == [None, [0.5, 0.5], None]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sample_ids": None}, "sample_ids is NoneType"),
        ({"sample_ids": "abc"}, "sample_ids is str"),
        ({"sample_ids": 7}, "sample_ids is int"),
        ({"sample_ids": set(IDS)}, "sample_ids is set"),
        ({"predictions": {"a": 1}}, "predictions is dict"),
        ({"predictions": np.zeros((3, 1))}, "predictions has 2 dimensions"),
        ({"predictions": [1, 2]}, "sample_ids has 3 values, predictions has 2"),
        ({"timestamps": [1]}, "sample_ids has 3 values, timestamps has 1"),
        ({"data": {"x": [1]}}, r"sample_ids has 3 values, data\['x'\] has 1"),
        ({"prediction_probas": [[1.0]]}, "sample_ids has 3 values, prediction_probas has 1"),
        ({"prediction_probas": [0.1, 0.2, 0.3]}, "one column a class"),
        ({"prediction_probas": np.zeros(3)}, "one column a class"),
        ({"prediction_probas": ["a", "b", "c"]}, "one column a class"),
        ({"prediction_probas": pd.DataFrame({"a": ["x", "y", "z"]})}, "holds what is no number: .*'x'"),
    ],
)
def test_what_is_no_column_is_named(change, words):
    arguments = {
        "sample_ids": IDS,
        "data": None,
        "predictions": [1, 2, 3],
        "prediction_probas": None,
        "timestamps": None,
    }
    with pytest.raises(DeepchecksConfigError, match=words):
        sample_columns(**arguments | change)


@pytest.mark.parametrize(
    "name", ["_dc_sample_id", "_dc_prediction", "_dc_time", "_dc_prediction_probabilities"]
)
def test_reserved_names(name):
    with pytest.raises(DeepchecksColumnsError, match=name):
        sample_columns(IDS, {name: [1, 2, 3]}, [1, 2, 3], None, None)


def test_columns_named_twice():
    frame = pd.DataFrame([[1, 2]] * 3, columns=["x", "x"])
    with pytest.raises(DeepchecksColumnsError, match="several columns named 'x'"):
        sample_columns(IDS, frame, [1, 2, 3], None, None)


def test_data_that_holds_no_rows():
    with pytest.raises(DeepchecksSourceError):
        sample_columns(IDS, object(), [1, 2, 3], None, None)


def test_no_rows():
    read = table(sample_columns([], {"x": []}, [], [], []))
    assert read.num_rows == 0
    assert set(read.column_names) == {
        "_dc_sample_id",
        "_dc_time",
        "_dc_prediction",
        "_dc_prediction_probabilities",
        "x",
    }


NAMED = {"a": [0.7, 0.6], "b": [0.2, 0.3], "c": [0.1, 0.1]}


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_probabilities_go_by_the_names_of_the_classes(make):
    for order in ("abc", "cab", "bca"):
        frame = in_class_order(make({name: NAMED[name] for name in order}), ("a", "b", "c"))
        read = table(sample_columns(IDS[:2], None, ["a", "b"], frame, None))
        assert read.column("_dc_prediction_probabilities").to_pylist() == [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]]


@pytest.mark.parametrize("kind", ["float64", "Float64", "float64[pyarrow]", object])
def test_missing_probabilities_of_pandas_are_nan(kind):
    frame = pd.DataFrame({"a": [0.7, None], "b": [0.3, 0.4]}).astype(kind)
    columns = sample_columns(IDS[:2], None, ["a", "b"], frame, None)
    told = columns["_dc_prediction_probabilities"].flatten().to_numpy()
    np.testing.assert_array_equal(told, [0.7, 0.3, np.nan, 0.4])


def test_probabilities_of_polars_are_read_in_a_forked_child():
    run_forked("""
from airflow_provider_deepchecks.hooks.arguments import in_class_order, sample_columns

rows = 200_000
frame = pl.DataFrame({"b": np.full(rows, 0.2), "a": np.full(rows, 0.8)})
columns = sample_columns(np.arange(rows), None, np.zeros(rows), in_class_order(frame, ("a", "b")), None)
os._exit(0 if columns["_dc_prediction_probabilities"][-1].as_py() == [0.8, 0.2] else 1)
""")


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_probabilities_of_other_names_stay_in_their_order(make):
    frame = make({f"p{name}": values for name, values in NAMED.items()})
    assert in_class_order(frame, ("a", "b", "c")) is frame
    assert in_class_order(frame, None) is frame


def test_probabilities_without_names_stay_in_their_order():
    matrix = np.zeros((2, 2))
    assert in_class_order(matrix, ("1", "2")) is matrix
    counted = pd.DataFrame(matrix)
    assert in_class_order(counted, ("1", "2")) is counted
    named = pd.DataFrame(matrix, columns=[2, 1])
    assert list(in_class_order(named, ("1", "2")).columns) == [1, 2]


def test_probabilities_of_some_classes_are_refused():
    with pytest.raises(
        DeepchecksConfigError, match=r"the columns 'a', 'x', the version the classes 'a', 'b'"
    ):
        in_class_order(pd.DataFrame({"a": [0.5], "x": [0.5]}), ("a", "b"))
