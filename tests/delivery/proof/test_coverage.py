# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_deepchecks.delivery.proof.coverage import Coverage, alert_deadline, coverage

END = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("samples", "labeled", "after", "state"),
    [
        (10, 9, 0, Coverage.COVERED),
        (10, 8, 0, Coverage.WAITING),
        (10, 8, 3600, Coverage.OVERDUE),
        (10, 9, 3600, Coverage.COVERED),
        (0, 0, 0, Coverage.WAITING),
        (0, 0, 3600, Coverage.OVERDUE),
    ],
)
def test_coverage(samples: int, labeled: int, after: float, state: Coverage) -> None:
    now = END + timedelta(seconds=after)
    found = coverage(samples, labeled, ratio=0.9, server_now=now, deadline=alert_deadline(END, 3600))
    assert found.state is state
    assert found.share == (labeled / samples if samples else 0)
    assert f"{labeled} of {samples} rows have a label ({found.share:.1%}, 90.0% wanted)" in found.message


def test_coverage_without_a_deadline_waits() -> None:
    assert coverage(10, 0, ratio=1.0, server_now=END, deadline=None).state is Coverage.WAITING
