# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Versions: their columns, the JSON schemas made of them, and the statistics kept of their rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from airflow_provider_deepchecks.local_server.clock import SECOND, to_microseconds
from airflow_provider_deepchecks.local_server.times import parse_time

SAMPLE_ID = "_dc_sample_id"
TIME = "_dc_time"
PREDICTION = "_dc_prediction"
PROBABILITIES = "_dc_prediction_probabilities"
LABEL = "_dc_label"
LOGGED_TIME = "_dc_logged_time"

#: Statistics keep at most so many values of a column: a column of ids must not make them grow for ever.
MAX_STATISTICS_VALUES = 1_000


class ColumnType(StrEnum):
    """Column types of features and additional data."""

    NUMERIC = "numeric"
    INTEGER = "integer"
    BIGINT = "bigint"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    TEXT = "text"
    ARRAY_FLOAT = "array_float"
    ARRAY_FLOAT_2D = "array_float_2d"
    DATETIME = "datetime"

    def __repr__(self) -> str:
        return f"<ColumnType.{self.name}: {self.value!r}>"


_NUMBERS: dict[str, Any] = {"type": "array", "items": {"type": "number"}}

# Those of bigint, arrays and features of type datetime are not measured, only that good values are stored.
_JSON_SCHEMAS: dict[str, dict[str, Any]] = {
    ColumnType.NUMERIC: {"type": ["number", "null"]},
    ColumnType.INTEGER: {"type": ["integer", "null"], "maximum": 2**31 - 1, "minimum": -(2**31)},
    ColumnType.BIGINT: {"type": ["integer", "null"], "maximum": 2**63 - 1, "minimum": -(2**63)},
    ColumnType.CATEGORICAL: {"type": ["string", "null"]},
    ColumnType.BOOLEAN: {"type": ["boolean", "null"]},
    ColumnType.TEXT: {"type": ["string", "null"]},
    ColumnType.ARRAY_FLOAT: {"type": ["array", "null"], "items": {"type": "number"}},
    ColumnType.ARRAY_FLOAT_2D: {"type": ["array", "null"], "items": _NUMBERS},
    ColumnType.DATETIME: {"type": ["string", "null"], "format": "date-time"},
}
_RANGES = {ColumnType.NUMERIC, ColumnType.INTEGER, ColumnType.BIGINT, ColumnType.DATETIME}
_VALUES = {ColumnType.CATEGORICAL, ColumnType.BOOLEAN}


def jsonb(value: Any) -> Any:
    """Objects with their keys in the order PostgreSQL keeps them in: by length in bytes, then by bytes."""
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return {key: jsonb(value[key]) for key in keys}
    if isinstance(value, list):
        return [jsonb(item) for item in value]
    return value


def prediction_type(task_type: str) -> ColumnType:
    """Column type of predictions and labels."""
    return ColumnType.NUMERIC if task_type == "regression" else ColumnType.CATEGORICAL


def model_columns(task_type: str, classes: list[str] | None) -> dict[str, str]:
    """The columns a version has because of its task."""
    columns = {PREDICTION: prediction_type(task_type).value}
    if classes:
        columns[PROBABILITIES] = ColumnType.ARRAY_FLOAT.value
    return columns


def meta_columns() -> dict[str, str]:
    """The columns every version has."""
    return {TIME: ColumnType.DATETIME.value, SAMPLE_ID: ColumnType.TEXT.value}


def monitor_schema(
    task_type: str, features: Mapping[str, str], additional: Mapping[str, str], classes: list[str] | None
) -> dict[str, Any]:
    """JSON schema of a sample."""
    own = {SAMPLE_ID: {"type": "string"}, TIME: {"type": "string", "format": "date-time"}}
    return _schema(task_type, features, additional, classes, own, [SAMPLE_ID, TIME, PREDICTION])


def reference_schema(
    task_type: str, features: Mapping[str, str], additional: Mapping[str, str], classes: list[str] | None
) -> dict[str, Any]:
    """JSON schema of a reference row: no id, no time, but a label."""
    own = {LABEL: _JSON_SCHEMAS[prediction_type(task_type)]}
    return _schema(task_type, features, additional, classes, own, [PREDICTION])


def label_schema(task_type: str) -> dict[str, Any]:
    """JSON schema of a label."""
    return {
        "type": "object",
        "required": [SAMPLE_ID, LABEL],
        "properties": {SAMPLE_ID: {"type": "string"}, LABEL: _JSON_SCHEMAS[prediction_type(task_type)]},
        "additionalProperties": False,
    }


def _schema(
    task_type: str,
    features: Mapping[str, str],
    additional: Mapping[str, str],
    classes: list[str] | None,
    own: Mapping[str, Any],
    required: list[str],
) -> dict[str, Any]:
    properties: dict[str, Any] = {
        name: _JSON_SCHEMAS[kind] for name, kind in (*features.items(), *additional.items())
    }
    properties |= own
    properties[PREDICTION] = {"type": "number" if task_type == "regression" else "string"}
    if classes:
        count = len(classes)
        properties[PROBABILITIES] = {
            "type": ["array", "null"], "items": {"type": "number"}, "maxItems": count, "minItems": count
        }  # fmt: skip
    schema = {
        "type": "object",
        "required": [*features, *required],
        "properties": properties,
        "additionalProperties": False,
    }
    ordered: dict[str, Any] = jsonb(schema)
    return ordered


def empty_statistics(columns: Mapping[str, str]) -> dict[str, Any]:
    """Statistics of a version without rows."""
    statistics: dict[str, Any] = {}
    for name, kind in columns.items():
        if kind in _RANGES:
            statistics[name] = {"max": None, "min": None}
        elif kind in _VALUES:
            statistics[name] = {"values": []}
    return statistics


def widen_statistics(
    statistics: dict[str, Any], columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Take stored rows into a version's statistics, in place."""
    rows = list(rows)
    for name, seen in statistics.items():
        values: Iterable[Any] = [row[name] for row in rows if row.get(name) is not None]
        if not values:
            continue
        if columns[name] == ColumnType.DATETIME:
            values = [to_microseconds(parse_time(value)) / SECOND for value in values]
        if "values" not in seen:
            known = [bound for bound in seen.values() if bound is not None]
            seen["max"], seen["min"] = max([*values, *known]), min([*values, *known])
            continue
        new = set(values).difference(seen["values"])
        seen["values"] += list(new)[: MAX_STATISTICS_VALUES - len(seen["values"])]
