# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_deepchecks.client.types import VersionStatus
from airflow_provider_deepchecks.delivery.proof.quiet import quiet
from airflow_provider_deepchecks.delivery.proof.settlement import State

END = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)


def status(pending: int = 0, moved: float = 0) -> VersionStatus:
    return VersionStatus(2, "v", pending, END + timedelta(seconds=moved))


@pytest.mark.parametrize(
    ("after", "pending", "watched", "state"),
    [
        (100, 0, 100, State.SETTLED),
        (100, 0, 5, State.WAITING),  # 0 pending right after an upload, the last update is an old one
        (5, 0, 100, State.WAITING),  # the consumer has just written
        (100, 1, 100, State.WAITING),
        (700, 1, 700, State.STALLED),
        (700, 1, 5, State.WAITING),
    ],
)
def test_quiet(after: float, pending: int, watched: float, state: State) -> None:
    now = END + timedelta(seconds=after)
    assert quiet([status(pending)], now, watched_for=watched, quiet_for=30, stall_after=600).state is state


def test_quiet_looks_at_every_version() -> None:
    now = END + timedelta(seconds=100)
    assert quiet([status(), status(moved=90)], now, watched_for=100, quiet_for=30).state is State.WAITING
    assert quiet([status(), status(3)], now, watched_for=100, quiet_for=30).pending_rows == 3
    assert quiet([], now, watched_for=100, quiet_for=30).state is State.WAITING
