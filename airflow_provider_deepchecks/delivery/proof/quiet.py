# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Whether a model is quiet, decided without a receipt: nothing pending, and it has stayed so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.delivery.proof.settlement import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_provider_deepchecks.client.types import VersionStatus


@dataclass(frozen=True)
class Quiet:
    """Whether a model, or a version, is quiet.

    :param state: SETTLED, WAITING or STALLED.
    """

    state: State
    pending_rows: int
    message: str


def quiet(
    statuses: Sequence[VersionStatus],
    server_now: datetime,
    *,
    watched_for: float,
    quiet_for: float,
    stall_after: float | None = None,
) -> Quiet:
    """Whether nothing is pending and it has stayed so.

    "0 pending" alone means nothing: it is 0 right after an upload, and the last update is then as old as the
    upload before. So both must be older than ``quiet_for``: the last update by the server's clock, and the
    watching itself.

    :param statuses: of the versions watched.
    :param watched_for: seconds since the first look.
    :param quiet_for: seconds that must pass without anything pending; several polls, and more than the 3 s
        after which queued rows begin to show (measured on server 0.19.3).
    :param stall_after: seconds without movement after which pending rows are stalled; None: never.
    """
    pending = sum(status.pending_rows for status in statuses)
    if not statuses:
        return Quiet(State.WAITING, 0, "there is no version yet")
    still = min((server_now - status.last_update).total_seconds() for status in statuses)
    if pending == 0 and still >= quiet_for and watched_for >= quiet_for:
        return Quiet(State.SETTLED, 0, f"nothing is pending, and has not been for {quiet_for:g} s")
    if pending and stall_after is not None and min(still, watched_for) >= stall_after:
        return Quiet(
            State.STALLED,
            pending,
            f"{pending:,} rows are pending and have not moved for {still:,.0f} s: the server's consumer is "
            "stuck. Look at the server; more rows, or a restart of its consumer, set it going",
        )
    left = quiet_for - min(still, watched_for)
    text = (
        f"{pending:,} rows are pending"
        if pending
        else f"nothing is pending; {max(left, 0.0):.0f} s more to be sure"
    )
    return Quiet(State.WAITING, pending, text)
