# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""From the server's JSON to the client's types. Raises built-in errors; the caller says what was asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_deepchecks.client.types import (
    IngestionError,
    Model,
    ModelRef,
    ModelStatus,
    ModelVersion,
    VersionRef,
    VersionSchema,
    VersionStatus,
    WindowCounts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(text: str) -> datetime:
    """A time of the server, UTC. It writes an offset; without one it is taken for UTC."""
    value = datetime.fromisoformat(text)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _last_update(item: Mapping[str, Any], key: str) -> datetime:
    # Optional in the server's own description; never updated means idle since ever.
    return moment(item[key]) if item.get(key) else _EPOCH


def _items(payload: Any) -> list[Any]:
    if not isinstance(payload, list):
        raise TypeError(f"a list was expected, not {type(payload).__name__}")
    return payload


def models(payload: Any) -> list[ModelRef]:
    """``/available-models``."""
    return [
        ModelRef(
            id=int(item["id"]),
            name=str(item["name"]),
            versions=tuple(VersionRef(id=int(v["id"]), name=str(v["name"])) for v in item["versions"]),
        )
        for item in _items(payload)
    ]


def model(item: Any) -> Model:
    """``/models/{id}``."""
    return Model(
        id=int(item["id"]),
        name=str(item["name"]),
        task_type=item["task_type"],
        alerts_delay_seconds=int(item["alerts_delay_seconds"]),
        alerts_delay_labels_ratio=float(item["alerts_delay_labels_ratio"]),
    )


def version(item: Any) -> ModelVersion:
    """``/model-versions/{id}``. A version without samples starts in 3000 and ends in 1970 (measured)."""
    start, end = moment(item["start_time"]), moment(item["end_time"])
    empty = start > end
    return ModelVersion(
        id=int(item["id"]),
        name=str(item["name"]),
        model_id=int(item["model_id"]),
        start_time=None if empty else start,
        end_time=None if empty else end,
    )


def schema(item: Any) -> VersionSchema:
    """``/model-versions/{id}/schema``."""
    return VersionSchema(
        features=dict(item["features"]),
        additional_data=dict(item["additional_data"]),
        classes=tuple(str(name) for name in item["classes"]) if item.get("classes") is not None else None,
        monitor_schema=dict(item["monitor_schema"]),
    )


def version_statuses(payload: Any) -> list[VersionStatus]:
    """``/connected-models/{id}/versions``."""
    return [
        VersionStatus(
            version_id=int(item["id"]),
            name=str(item["name"]),
            pending_rows=int(item["n_of_pending_rows"]),
            last_update=_last_update(item, "last_update_time"),
        )
        for item in _items(payload)
    ]


def model_statuses(payload: Any) -> list[ModelStatus]:
    """``/connected-models``."""
    return [
        ModelStatus(
            model_id=int(item["id"]),
            name=str(item["name"]),
            pending_rows=int(item["n_of_pending_rows"]),
            sample_count=int(item["sample_count"]),
            label_count=int(item["label_count"]),
            last_update=_last_update(item, "latest_update"),
        )
        for item in _items(payload)
    ]


def window_counts(item: Any) -> WindowCounts:
    """``/model-versions/{id}/time-window-statistics``."""
    return WindowCounts(samples=int(item["num_samples"]), labeled=int(item["num_labeled_samples"]))


def ingestion_errors(payload: Any) -> list[IngestionError]:
    """``/connected-models/{id}/ingestion-errors``."""
    return [
        IngestionError(
            id=int(item["id"]),
            sample_id=item.get("sample_id"),
            error=str(item.get("error") or ""),
            sample=item.get("sample"),
            created_at=moment(item["created_at"]),
            version_id=item.get("model_version_id"),
        )
        for item in _items(payload)
    ]


def stored_samples(payload: Any) -> list[dict[str, Any]]:
    """``/model-versions/{id}/get-prod-data``: the rows; the server may wrap them as JSON in a JSON string."""
    rows = json.loads(payload) if isinstance(payload, str) else payload
    return [dict(row) for row in _items(rows)]
