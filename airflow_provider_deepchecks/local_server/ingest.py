# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Writing rows: the same for a request that is worked on at once and for a poll of the consumer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_deepchecks.local_server.clock import Clock, to_datetime
from airflow_provider_deepchecks.local_server.errors import ApiError, ServerFault
from airflow_provider_deepchecks.local_server.schema import (
    label_schema,
    meta_columns,
    model_columns,
    monitor_schema,
    reference_schema,
    widen_statistics,
)
from airflow_provider_deepchecks.local_server.validation import (
    Refusal,
    Row,
    Validate,
    already_stored,
    compile_schema,
    listable,
    reason,
    sort_labels,
    sort_samples,
    storable_json,
    with_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_deepchecks.local_server.storage import Model, Storage, Version

#: Reference rows a version takes in all; what goes beyond is cut off silently.
MAX_REFERENCE_ROWS = 100_000


def is_poisoned(model: Model) -> bool:
    """Whether the model ever got a sample of year 1: from then on the server fails to compare its times."""
    return model.start_time is not None and to_datetime(model.start_time).year == 1


def version_columns(task_type: str, version: Version) -> dict[str, str]:
    """All columns of a version with their types."""
    return {
        **version.features,
        **version.additional_data,
        **model_columns(task_type, version.classes),
        **meta_columns(),
    }


class Ingest:
    """Takes rows in. Every method runs inside a transaction of the caller.

    :param storage: the state.
    :param clock: the server's clock.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._validators: dict[tuple[str, int], Validate] = {}

    def samples(self, model: Model, version: Version, rows: Iterable[tuple[Row, int]]) -> int:
        """Store what is good and list what is refused; the number of rows stored comes back.

        :param rows: rows with the time the server got each.
        :raises ServerFault: when one row ruins the request.
        """
        now = self._clock.now()
        validate = self._validator("samples", version.id, model, version)
        good, refused = sort_samples(rows, validate, now, has_classes=bool(version.classes))
        # Every upload fails (measured with good rows), also one whose rows are all refused.
        if is_poisoned(model):
            raise ServerFault("the model holds a sample of year 1")
        good = list(with_text(good))
        known = self._storage.stored_ids(version.id, (sample.id for sample in good))
        refused += [already_stored(sample) for sample in good if sample.id in known]
        new = [sample for sample in good if sample.id not in known]
        if new:
            statistics = version.statistics
            widen_statistics(
                statistics, version_columns(model.task_type, version), (sample.row for sample in new)
            )
            times = [sample.time for sample in new]
            self._storage.add_samples(version.id, ((sample.id, sample.time, sample.text) for sample in new))
            self._storage.rows_came(version, statistics, min(times), max(times))
        self._list(model.id, version.id, refused, now)
        return len(new)

    def labels(self, model: Model, rows: Iterable[Row]) -> None:
        """Write what is good and list what is refused.

        :raises ServerFault: when one label ruins the request.
        """
        now = self._clock.now()
        good, refused = sort_labels(rows, self._validator("labels", model.id, model, None))
        texts: dict[str, str | None] = {}
        for sample_id, label in good.items():
            text = storable_json(sample_id, label)
            texts[sample_id] = None if label is None else text
        if model.task_type == "binary":
            texts = self._two_classes(model.id, texts)
        self._storage.put_labels(model.id, texts.items())
        self._list(model.id, None, refused, now)

    def reference(self, model: Model, version: Version, rows: list[Row]) -> None:
        """Store reference rows: all of them, or none when one is bad; beyond the limit they are cut off.

        :raises ApiError: when a row is bad, or the version is full.
        """
        room = MAX_REFERENCE_ROWS - self._storage.count_reference(version.id)
        if room <= 0:
            raise ApiError(400, "Maximum allowed number of reference data samples is already uploaded")
        validate = self._validator("reference", version.id, model, version)
        for row in rows:
            if (error := reason(validate, row)) is not None:
                raise ApiError(400, f"Invalid reference data: {error}")
        # An upload without rows leaves one empty row (measured).
        texts = [json.dumps(row, ensure_ascii=False) for row in rows[:room]] or ["{}"]
        self._storage.add_reference(version.id, texts)

    def _two_classes(self, model_id: int, labels: dict[str, str | None]) -> dict[str, str | None]:
        """The labels without those that would be a third value among a version's rows: they just vanish.

        A label of a sample that is not there yet is compared with nothing, and null is a value like others.
        """
        holders = self._storage.versions_holding(model_id, labels)
        values = {
            version: set[str | None](self._storage.label_values(model_id, version))
            for version in {version for versions in holders.values() for version in versions}
        }
        kept: dict[str, str | None] = {}
        for sample_id, label in labels.items():
            seen = [values[version] for version in holders.get(sample_id, ())]
            if any(label not in known and len(known) >= 2 for known in seen):
                continue
            kept[sample_id] = label
            for known in seen:
                if label is not None:
                    known.add(label)
        return kept

    def _list(self, model_id: int, version_id: int | None, refused: list[Refusal], now: int) -> None:
        errors = ((refusal.sample_id, refusal.error, refusal.sample) for refusal in listable(refused))
        self._storage.add_errors(model_id, version_id, errors, now)

    def _validator(self, kind: str, owner: int, model: Model, version: Version | None) -> Validate:
        if (kind, owner) not in self._validators:
            self._validators[kind, owner] = compile_schema(_schema(kind, model.task_type, version))
        return self._validators[kind, owner]


def _schema(kind: str, task_type: str, version: Version | None) -> dict[str, Any]:
    if version is None:
        return label_schema(task_type)
    make = monitor_schema if kind == "samples" else reference_schema
    return make(task_type, version.features, version.additional_data, version.classes)
