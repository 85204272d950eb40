# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A version's schema as the server tells it, and rows checked against it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_deepchecks.client.types import VersionSchema
from airflow_provider_deepchecks.records.checks.checker import Checked, Checker, CheckOptions
from airflow_provider_deepchecks.records.checks.schema import RecordSchema
from airflow_provider_deepchecks.records.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PAST = datetime(2026, 1, 1, 10, tzinfo=UTC)

PROPERTIES: dict[str, dict[str, Any]] = {
    "numeric": {"type": ["number", "null"]},
    "integer": {"type": ["integer", "null"], "maximum": 2147483647, "minimum": -2147483648},
    "bigint": {"type": ["integer", "null"]},
    "categorical": {"type": ["string", "null"]},
    "text": {"type": ["string", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "datetime": {"type": ["string", "null"], "format": "date-time"},
    "array_float": {"type": ["array", "null"], "items": {"type": "number"}},
    "array_float_2d": {"type": ["array", "null"], "items": {"type": "array", "items": {"type": "number"}}},
}


def version_schema(
    features: Mapping[str, str] | None = None,
    additional: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
) -> VersionSchema:
    features, additional = dict(features or {}), dict(additional or {})
    properties = {name: PROPERTIES[kind] for name, kind in {**features, **additional}.items()}
    schema = {"type": "object", "required": list(features), "properties": properties}
    return VersionSchema(features, additional, tuple(classes) if classes else None, schema)


def checker(
    features: Mapping[str, str] | None = None,
    *,
    additional: Mapping[str, str] | None = None,
    task_type: str = "regression",
    classes: Sequence[str] | None = None,
    columns: Columns | None = None,
    now: datetime = NOW,
    **options: Any,
) -> Checker:
    columns = columns or Columns("id", "at", "guess")
    schema = RecordSchema.samples(version_schema(features, additional, classes), task_type, columns)
    return Checker(schema, CheckOptions(**options), now=lambda: now)


def label_checker(
    task_type: str = "regression",
    *,
    classes: Sequence[str] | None = None,
    allow_null: bool = False,
    columns: Columns | None = None,
    **options: Any,
) -> Checker:
    columns = columns or Columns("id", label="truth")
    known = tuple(classes) if classes else None
    schema = RecordSchema.labels(task_type, columns, classes=known, allow_null=allow_null)
    return Checker(schema, CheckOptions(**options), now=lambda: NOW)


def rows_of(rows: int = 1, **columns: Any) -> pa.RecordBatch:
    """A batch of good rows for the columns above, some of them replaced; None leaves a column out."""
    base: dict[str, Any] = {
        "id": [f"s{number}" for number in range(rows)],
        "at": pa.array([PAST] * rows, pa.timestamp("us", "UTC")),
        "guess": [1.5] * rows,
    }
    base.update(columns)
    arrays = {
        name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in base.items()
    }
    return pa.RecordBatch.from_pydict(arrays)


def check(checks: Checker, batch: pa.RecordBatch, *, untyped: bool = False, first: int = 0) -> Checked:
    checks.bind(batch.schema, untyped=untyped)
    return checks.check(batch, first)


def reasons(checked: Checked) -> dict[int, list[str]]:
    """Reasons by position."""
    found: dict[int, list[str]] = {}
    for row in checked.bad_rows():
        found.setdefault(row.position, []).append(row.reason)
    return found


def only_reason(checked: Checked) -> str:
    """The reason of the one bad row."""
    (row,) = checked.bad_rows()
    return row.reason
