# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Where a task keeps its progress, so that a retry goes on where the attempt before stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_deepchecks.storage import storage_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_deepchecks.delivery.upload.checkpoint import Checkpoint


def checkpoint_for(context: Context, *, path: str | None, durable: bool) -> Checkpoint:
    """The checkpoint of a task: in a file if one is named, else in Airflow 3.3's task state.

    :param path: the file.
    :param durable: whether the task state may be used.
    """
    from airflow_provider_deepchecks.delivery.upload.checkpoint import (
        FileCheckpoint,
        NoCheckpoint,
        StoreCheckpoint,
    )

    ti: Any = context["ti"]
    # A retry keeps max_tries and a manual Clear raises it: the sign by which a fresh start is known.
    identity = {
        "dag_id": ti.dag_id,
        "task_id": ti.task_id,
        "run_id": ti.run_id,
        "map_index": ti.map_index if ti.map_index is not None else -1,
        "max_tries": ti.max_tries,
    }
    if path:
        place = storage_path(path)
        if place is path:
            return FileCheckpoint(place, identity=identity)
        return FileCheckpoint(place.path, filesystem=place.fs, identity=identity)
    store = context.get("task_state_store") if durable else None
    return NoCheckpoint() if store is None else StoreCheckpoint(store, identity=identity)
