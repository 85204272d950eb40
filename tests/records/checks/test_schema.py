# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The columns on the wire, and whether a source has them; all of this is told before a row is read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from airflow_provider_deepchecks.client.types import VersionSchema
from airflow_provider_deepchecks.exceptions import DeepchecksColumnsError, DeepchecksConfigError
from airflow_provider_deepchecks.records.checks.schema import Kind, RecordSchema
from airflow_provider_deepchecks.records.columns import Columns
from tests.records.checking import check, checker, label_checker, rows_of, version_schema

FEATURES = {"income": "numeric", "age": "integer", "city": "categorical"}


def _bind(batch: pa.RecordBatch, *, untyped: bool = False, **settings: Any) -> None:
    checker(FEATURES, **settings).bind(batch.schema, untyped=untyped)


def _rows(**columns: Any) -> pa.RecordBatch:
    return rows_of(**{"income": [1.0], "age": [2], "city": ["x"], **columns})


def test_wire_columns_come_in_one_order() -> None:
    columns = Columns("id", "at", "guess", ("p0", "p1"), "truth")
    settings: Any = {"additional": {"note": "text"}, "task_type": "binary", "classes": ["a", "b"]}
    batch = _rows(guess=["a"], p0=[0.5], p1=[0.5], truth=["b"], note=["n"])
    rows = check(checker(FEATURES, columns=columns, **settings), batch).rows
    assert rows.schema == pa.schema(
        [
            ("__position", pa.int64()),
            ("_dc_sample_id", pa.string()),
            ("__time", pa.timestamp("us", "UTC")),
            ("_dc_prediction", pa.string()),
            ("_dc_prediction_probabilities", pa.list_(pa.float64())),
            ("income", pa.float64()),
            ("age", pa.int64()),
            ("city", pa.string()),
            ("note", pa.string()),
            ("_dc_label", pa.string()),
        ]
    )


def test_additional_data_that_the_source_lacks_is_left_out() -> None:
    rows = check(checker(FEATURES, additional={"note": "text"}), _rows()).rows
    assert "note" not in rows.schema.names


def test_bounds_come_from_the_servers_schema() -> None:
    schema = RecordSchema.samples(
        version_schema({"i": "integer", "b": "bigint"}), "regression", Columns("id", "at", "guess")
    )
    bounds = {wanted.name: (wanted.minimum, wanted.maximum) for wanted in schema.fields}
    assert bounds["i"] == (-(2**31), 2**31 - 1)
    assert bounds["b"] == (-(2**63), 2**63 - 1)


def test_a_schema_without_json_schema_is_enough() -> None:
    schema = VersionSchema({"i": "integer"}, {"d": "datetime"}, None, {})
    fields = RecordSchema.samples(schema, "regression", Columns("id", "at", "guess")).fields
    assert [(f.name, f.kind, f.maximum, f.nullable) for f in fields[-2:]] == [
        ("i", Kind.INTEGER, 2**31 - 1, True),
        ("d", Kind.DATETIME, 2**63 - 1, True),
    ]


def test_nulls_are_refused_where_the_server_refuses_them() -> None:
    schema = VersionSchema({"i": "integer"}, {}, None, {"properties": {"i": {"type": "integer"}}})
    fields = RecordSchema.samples(schema, "regression", Columns("id", "at", "guess")).fields
    assert fields[-1].nullable is False


# -- names ---------------------------------------------------------------------------------------------------


def test_missing_unknown_and_doubled_columns_are_told_together() -> None:
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["s"]), pa.array([1.0]), pa.array([1.0]), pa.array([1.0]), pa.array([1.0]), pa.array([1])],
        names=["id", "guess", "incme", "extra", "extra", "age"],
    )
    with pytest.raises(DeepchecksColumnsError) as error:
        _bind(batch)
    message = str(error.value)
    assert "several columns named 'extra'" in message
    assert "timestamp_column='at': the source has no such column; it has 'id', 'guess', 'incme'" in message
    assert "The source lacks 'income', 'city', which the version needs" in message
    assert "(column_mapping= of an operator). Meant 'incme' for 'income'?" in message
    assert "The version does not have 'extra', 'extra'" in message
    assert "rename them (column_mapping= of an operator)" in message


def test_a_source_without_columns_is_told() -> None:
    batch = pa.RecordBatch.from_arrays([], names=[])
    with pytest.raises(DeepchecksColumnsError, match="it has no column at all: is it empty"):
        _bind(batch)


def test_mapping_renames_columns() -> None:
    columns = Columns("id", "at", "guess", mapping={"Income (EUR)": "income"})
    batch = rows_of(**{"Income (EUR)": [7.0], "age": [2], "city": ["x"]})
    rows = check(checker(FEATURES, columns=columns), batch).rows
    assert rows.column("income").to_pylist() == [7.0]


def test_mapping_to_a_column_that_the_version_lacks_is_an_error() -> None:
    columns = Columns("id", "at", "guess", mapping={"x": "incom"})
    with pytest.raises(DeepchecksColumnsError, match=r"renames to 'incom'.*Meant 'income'"):
        checker(FEATURES, columns=columns)


def test_mapping_from_a_column_that_the_source_lacks_is_an_error() -> None:
    columns = Columns("id", "at", "guess", mapping={"amout": "amount"})
    checks = checker({}, additional={"amount": "numeric"}, columns=columns)
    with pytest.raises(DeepchecksColumnsError, match=r"source lacks 'amout'.*Meant 'total_amout'"):
        checks.bind(rows_of(total_amout=[1.0]).schema)


def test_a_column_named_as_on_the_wire_is_unknown_like_any_other() -> None:
    checks = checker({}, columns=Columns("id", prediction="guess"))
    with pytest.raises(DeepchecksColumnsError, match="does not have '__time', '_dc_sample_id'"):
        checks.bind(rows_of(__time=[1], _dc_sample_id=["x"]).drop_columns("at").schema)


def test_mapping_to_a_column_that_the_source_has_is_an_error() -> None:
    columns = Columns("id", "at", "guess", mapping={"a": "f"})
    checks = checker({"f": "numeric"}, columns=columns)
    with pytest.raises(DeepchecksColumnsError, match="has 'f', and column_mapping renames 'a' to it"):
        checks.bind(rows_of(a=[1.0], f=[2.0]).schema)
    swapped = Columns("id", "at", "guess", mapping={"a": "f", "f": "a"})
    checked = check(checker({"f": "numeric", "a": "numeric"}, columns=swapped), rows_of(a=[1.0], f=[2.0]))
    assert (checked.rows["f"].to_pylist(), checked.rows["a"].to_pylist()) == ([1.0], [2.0])


def test_a_renamed_columns_own_name_is_not_taken_for_it() -> None:
    columns = Columns("id", "at", "guess", mapping={"x": "income"})
    with pytest.raises(DeepchecksColumnsError, match="has 'income', and column_mapping renames 'x' to it"):
        check(checker(FEATURES, columns=columns), _rows(x=[1.0]))


def test_a_column_with_a_part_of_its_own_is_a_feature_too_when_declared() -> None:
    rows = check(checker({"guess": "numeric", "id": "categorical"}), rows_of()).rows
    assert rows.column("guess").to_pylist() == rows.column("_dc_prediction").to_pylist()
    assert rows.column("id").to_pylist() == rows.column("_dc_sample_id").to_pylist()


def test_the_label_column_is_known_without_being_asked_for_labels() -> None:
    columns = Columns("id", "at", "guess", label="truth")
    _bind(_rows(truth=[1.0]), columns=columns)


def test_the_columns_of_a_quarantine_file_are_passed_over() -> None:
    rows = check(
        checker(FEATURES), _rows(_dc_row_position=[3], _dc_row_id=["s"], _dc_row_reasons=[["r"]])
    ).rows
    assert not [name for name in rows.schema.names if name.startswith("_dc_row")]


@pytest.mark.parametrize("name", ["__position", "__time", "_dc_sample_id", "_dc_time", "_dc_prediction"])
def test_a_version_with_our_own_column_names_is_an_error(name: str) -> None:
    with pytest.raises(DeepchecksColumnsError, match=f"'{name}'"):
        checker({name: "numeric"})


def test_a_feature_named_as_the_label_goes_without_labels_only() -> None:
    checker({"_dc_label": "numeric"}).bind(rows_of(_dc_label=[1.0]).schema)
    with pytest.raises(DeepchecksColumnsError, match="together with labels"):
        checker({"_dc_label": "numeric"}, columns=Columns("id", "at", "guess", label="truth"))


def test_a_feature_named_as_the_probabilities_goes_without_them_only() -> None:
    name = "_dc_prediction_probabilities"
    checker({name: "numeric"}).bind(rows_of(**{name: [1.0]}).schema)
    columns = Columns("id", "at", "guess", prediction_probas=("p",))
    with pytest.raises(DeepchecksColumnsError, match=name):
        checker({name: "numeric"}, task_type="multiclass", classes=["a", "b"], columns=columns)


def test_a_column_type_of_a_newer_server_is_named() -> None:
    schema = VersionSchema({"x": "quaternion"}, {}, None, {})
    with pytest.raises(DeepchecksColumnsError, match="'x' is of the type 'quaternion'"):
        RecordSchema.samples(schema, "regression", Columns("id", "at", "guess"))


def test_samples_need_a_prediction_and_labels_a_label() -> None:
    with pytest.raises(DeepchecksConfigError, match="prediction_column"):
        RecordSchema.samples(version_schema(), "regression", Columns("id"))
    with pytest.raises(DeepchecksConfigError, match="label_column"):
        RecordSchema.labels("regression", Columns("id"))


def test_labels_pass_over_other_columns() -> None:
    rows = check(label_checker(), pa.RecordBatch.from_pydict({"id": ["s"], "truth": [1.0], "x": [b"?"]})).rows
    assert rows.schema.names == ["__position", "_dc_sample_id", "_dc_label"]


def test_labels_carry_the_samples_time_when_there_is_one() -> None:
    columns = Columns("id", "at", label="truth")
    rows = check(label_checker(columns=columns), rows_of(truth=[1.0])).rows
    assert rows.schema.names == ["__position", "_dc_sample_id", "__time", "_dc_label"]


# -- probabilities -------------------------------------------------------------------------------------------


def test_probabilities_need_declared_classes() -> None:
    with pytest.raises(DeepchecksColumnsError, match="declares no classes"):
        checker(task_type="binary", columns=Columns("id", "at", "guess", ("p0", "p1")))


def test_probabilities_are_one_column_a_class_or_a_single_one() -> None:
    with pytest.raises(DeepchecksColumnsError, match="names 2 columns, the version has 3 classes"):
        checker(classes=["a", "b", "c"], columns=Columns("id", "at", "guess", ("p0", "p1")))
    checks = checker(classes=["a", "b"], task_type="binary", columns=Columns("id", "at", "guess", ("p",)))
    with pytest.raises(DeepchecksColumnsError, match="one column a class"):
        checks.bind(rows_of(guess=["a"], p=[0.5]).schema)
    checks.bind(rows_of(guess=["a"], p=[[0.5, 0.5]]).schema)


# -- types ---------------------------------------------------------------------------------------------------

TEXT = pa.array(["1.5"])
STRUCT = pa.array([{"a": 1}])


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("numeric", TEXT, "CAST in the query"),
        ("numeric", pa.array([True]), "convert it to numbers"),
        ("numeric", STRUCT, "convert it to numbers"),
        ("integer", pa.array([b"1"]), "decode the bytes"),
        ("boolean", TEXT, "0 and 1"),
        ("categorical", pa.array([True]), "three categories"),
        ("text", pa.array([["a"]]), "as the text you mean"),
        ("text", pa.array([b"a"], pa.large_binary()), "decode the bytes"),
        ("datetime", pa.array([1_767_225_600]), "a timestamp, a date or ISO 8601 text"),
        ("array_float", pa.array([1.0]), "lists of numbers"),
        ("array_float", pa.array([["a"]]), "lists of numbers"),
        ("array_float_2d", pa.array([[1.0]]), "lists of lists"),
    ],
)
def test_types_that_cannot_be_meant_are_told_before_a_row_is_read(kind: str, values: Any, words: str) -> None:
    with pytest.raises(DeepchecksColumnsError, match=words) as error:
        checker({"x": kind}).bind(rows_of(x=values).schema)
    assert "Column 'x' is " in str(error.value)


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("id", pa.array([1.0]), "1.0 is not '1'"),
        ("id", pa.array([True]), "text or an integer"),
        ("id", pa.array([Decimal("1.5")]), "text or an integer"),
        ("at", pa.array([True]), "a time is"),
        ("guess", pa.array(["1"]), "numbers"),
    ],
)
def test_types_of_the_rows_own_columns(column: str, values: Any, words: str) -> None:
    with pytest.raises(DeepchecksColumnsError, match=words):
        checker().bind(rows_of(**{column: values}).schema)


def test_text_may_be_anything_in_an_untyped_source() -> None:
    kinds = {"n": "numeric", "i": "integer", "b": "boolean", "d": "datetime", "t": "text"}
    batch = rows_of(at=["2026-01-01T00:00:00Z"], guess=["1"], **dict.fromkeys(kinds, TEXT))
    checker(kinds).bind(batch.schema, untyped=True)
    with pytest.raises(DeepchecksColumnsError, match="CSV has no lists"):
        checker({"x": "array_float"}).bind(rows_of(x=TEXT).schema, untyped=True)


def test_check_needs_bind() -> None:
    with pytest.raises(RuntimeError, match="bind"):
        checker().check(rows_of(), 0)
