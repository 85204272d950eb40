# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Where rows go: a version takes samples, a model takes labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.delivery.proof.observe import stored_rows
from airflow_provider_deepchecks.delivery.window import TICK

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.client.types import SendResult
    from airflow_provider_deepchecks.records.chunks.chunker import Chunk

#: Rows and cells of a window whose ids are looked up before rows are sent again.
MAX_LOOKED_UP_ROWS = 50_000
MAX_LOOKED_UP_CELLS = 1_000_000


@dataclass(frozen=True)
class SampleTarget:
    """A version that takes samples.

    :param watermark: its newest sample time before the upload, None when it holds none.
    """

    model: str
    model_id: int
    version: str
    version_id: int
    watermark: datetime | None = None


@dataclass(frozen=True)
class LabelTarget:
    """A model that takes labels.

    :param version_ids: versions with samples: their windows show the labels.
    :param window: inclusive sample times of the labels' samples, where they are known before sending.
    """

    model: str
    model_id: int
    version_ids: tuple[int, ...] = ()
    window: tuple[datetime, datetime] | None = None


def sample_target(client: DeepchecksClient, model: str, version: str) -> SampleTarget:
    """The version of these names, as it is now.

    :raises DeepchecksNotFoundError: no such model or version; the message lists the nearest names.
    """
    model_ref, version_ref = client.resolve(model, version)
    assert version_ref is not None
    watermark = client.version(version_ref.id).end_time
    return SampleTarget(model_ref.name, model_ref.id, version_ref.name, version_ref.id, watermark)


class SampleChannel:
    """Sends samples to a version."""

    noun = "rows"
    traces = True

    def __init__(self, client: DeepchecksClient, version_id: int) -> None:
        self._client = client
        self._version_id = version_id

    def post(self, chunk: Chunk) -> SendResult:
        return self._client.send_samples(self._version_id, chunk.body, chunk.rows)

    def stored(self, chunk: Chunk) -> set[str] | None:
        if chunk.first_time is None or chunk.last_time is None:
            return None
        most = min(MAX_LOOKED_UP_ROWS, max(1_000, MAX_LOOKED_UP_CELLS // max(1, chunk.batch.num_columns)))
        found = stored_rows(
            self._client, self._version_id, chunk.first_time, chunk.last_time + TICK, most=most
        )
        return None if found is None else set(found)


class LabelChannel:
    """Sends labels to a model. Sending one again changes nothing and leaves no trace."""

    noun = "labels"
    traces = False

    def __init__(self, client: DeepchecksClient, model_id: int) -> None:
        self._client = client
        self._model_id = model_id

    def post(self, chunk: Chunk) -> SendResult:
        return self._client.send_labels(self._model_id, chunk.body, chunk.rows)

    def stored(self, chunk: Chunk) -> set[str] | None:
        return None
