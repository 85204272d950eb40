# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the server tells, typed. Times are timezone-aware UTC datetimes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

TaskType = Literal["regression", "binary", "multiclass"]


@dataclass(frozen=True)
class VersionRef:
    """A version by id and name."""

    id: int
    name: str


@dataclass(frozen=True)
class ModelRef:
    """A model by id and name, with its versions."""

    id: int
    name: str
    versions: tuple[VersionRef, ...]


@dataclass(frozen=True)
class Model:
    """One model (``GET /models/{id}``)."""

    id: int
    name: str
    task_type: TaskType
    alerts_delay_seconds: int
    alerts_delay_labels_ratio: float


@dataclass(frozen=True)
class ModelVersion:
    """One version (``GET /model-versions/{id}``).

    :param start_time: oldest sample time, None while the version holds no sample.
    :param end_time: newest sample time (the watermark), None while the version holds no sample.
    """

    id: int
    name: str
    model_id: int
    start_time: datetime | None
    end_time: datetime | None


@dataclass(frozen=True)
class VersionSchema:
    """What a version's samples look like (``GET /model-versions/{id}/schema``).

    :param features: column -> type (numeric, integer, bigint, categorical, boolean, text, array_float,
        array_float_2d, datetime).
    :param additional_data: column -> type.
    :param classes: declared classes, sorted; None when none are declared.
    :param monitor_schema: the JSON schema each sample is validated with.
    """

    features: Mapping[str, str]
    additional_data: Mapping[str, str]
    classes: tuple[str, ...] | None
    monitor_schema: Mapping[str, Any]


@dataclass(frozen=True)
class SendResult:
    """The answer 200 to a chunk. It does not mean that the rows are stored.

    :param server_time: the answer's ``Date``, None when a proxy dropped it.
    :param seconds: time from the first byte out to the answer.
    """

    rows: int
    server_time: datetime | None
    seconds: float


@dataclass(frozen=True)
class VersionStatus:
    """Ingestion of one version (``GET /connected-models/{id}/versions``)."""

    version_id: int
    name: str
    pending_rows: int
    last_update: datetime


@dataclass(frozen=True)
class ModelStatus:
    """Ingestion of one model (``GET /connected-models``; a full count, slow on large models)."""

    model_id: int
    name: str
    pending_rows: int
    sample_count: int
    label_count: int
    last_update: datetime


@dataclass(frozen=True)
class IngestionStatus:
    """How far a version is.

    :param pending_rows: rows queued; also 0 right after an upload, before the first row is in.
    :param last_update: when the server last wrote rows.
    :param latest_sample: newest sample time, None while there is no sample.
    :param samples: samples stored.
    :param labeled: samples with a label that is not null.
    """

    pending_rows: int
    last_update: datetime
    latest_sample: datetime | None
    samples: int
    labeled: int


@dataclass(frozen=True)
class WindowCounts:
    """Rows of a version in [start, end).

    :param labeled: samples with a label that is not null.
    """

    samples: int
    labeled: int


@dataclass(frozen=True)
class IngestionError:
    """A row that the server refused after its 200.

    :param sample: the row as the server shows it (the repr of a Python dict, possibly cut).
    :param version_id: None for labels.
    """

    id: int
    sample_id: str | None
    error: str
    sample: str | None
    created_at: datetime
    version_id: int | None
