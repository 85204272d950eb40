# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the tests of settlement share: receipts, and looks at a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from airflow_provider_deepchecks.delivery.proof.observation import Observation
from airflow_provider_deepchecks.delivery.proof.settlement import (
    SettlementRules,
)
from airflow_provider_deepchecks.delivery.receipt import Receipt

START = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)
END = START + timedelta(seconds=10)
counting = partial(SettlementRules, verify="counts")
RULES = counting(lost_after=60, stall_after=120)


def receipt(sent: int = 10, **changes: object) -> Receipt:
    values: dict[str, object] = {
        "kind": "samples",
        "server": "http://127.0.0.1",
        "model": "m",
        "model_id": 1,
        "version": "v",
        "version_id": 2,
        "source": "",
        "started_at": START,
        "finished_at": END,
        "read": sent,
        "sent": sent,
        "waiting": sent,
        "window_start": START,
        "window_end": END,
        **changes,
    }
    return Receipt(**values)  # type: ignore[arg-type]


def seen(
    after: float = 5, *, samples: int | None = 0, pending: int = 0, moved: float = 0, **more: object
) -> Observation:
    """A look ``after`` seconds after the upload; the consumer last wrote ``moved`` seconds after it."""
    return Observation(
        server_now=END + timedelta(seconds=after),
        pending_rows=pending,
        last_update=END + timedelta(seconds=moved),
        samples_in_window=samples,
        **more,  # type: ignore[arg-type]
    )


def counts(settlement: object) -> tuple[int, int, int, int]:
    r = settlement.receipt  # type: ignore[attr-defined]
    return r.stored, r.already_stored, r.refused, r.waiting


def labels(sent: int = 10, **changes: object) -> Receipt:
    return receipt(sent, kind="labels", version=None, version_id=None, version_ids=(2,), **changes)
