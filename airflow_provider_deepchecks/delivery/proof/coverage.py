# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Whether enough of a window is labelled, or its deadline has passed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Coverage(StrEnum):
    """How the labels of a window stand."""

    COVERED = "covered"
    WAITING = "waiting"
    #: The deadline passed first.
    OVERDUE = "overdue"


@dataclass(frozen=True)
class CoverageDecision:
    """Whether a window has enough labels."""

    state: Coverage
    samples: int
    labeled: int
    message: str

    @property
    def share(self) -> float:
        """Labelled share of the window, 0 when it holds no row."""
        return self.labeled / self.samples if self.samples else 0.0


def coverage(
    samples: int, labeled: int, *, ratio: float, server_now: datetime, deadline: datetime | None
) -> CoverageDecision:
    """Whether a window has enough labels, or its deadline has passed.

    :param ratio: share of the rows that must have a label, 0 to 1. The model's own
        ``alerts_delay_labels_ratio`` is the share at which Deepchecks runs the alerts that need labels.
    :param deadline: when to stop waiting (UTC); see :func:`alert_deadline`. None: never.
    """
    share = labeled / samples if samples else 0.0
    text = f"{labeled:,} of {samples:,} rows have a label ({share:.1%}, {ratio:.1%} wanted)"
    # 0.55 * 100 is a little more than 55.
    if samples and labeled >= ratio * samples - 1e-9 * samples:
        return CoverageDecision(Coverage.COVERED, samples, labeled, text)
    if deadline is not None and server_now >= deadline:
        over = f"{text}, and the deadline {deadline.isoformat()} has passed"
        return CoverageDecision(Coverage.OVERDUE, samples, labeled, over)
    return CoverageDecision(Coverage.WAITING, samples, labeled, text)


def alert_deadline(window_end: datetime, alerts_delay_seconds: float) -> datetime:
    """When Deepchecks stops waiting for labels: later ones do not change an alert of the window."""
    return window_end + timedelta(seconds=alerts_delay_seconds)
