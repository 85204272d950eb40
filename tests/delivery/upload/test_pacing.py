# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_deepchecks.delivery.upload.pacing import (
    LONGEST_PAUSE,
    MinutePace,
    minute_of,
    pause,
    read_limit,
)

NOW = datetime(2026, 1, 1, 10, 0, 20, tzinfo=UTC)
OVER = "Rate limit exceeded, you can send 100 rows per minute. 40 first rows were received"


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        (OVER, 100),
        ("POST /x answered: Rate limit exceeded, you can send 500000 labels per minute", 500_000),
        ("too much", None),
    ],
)
def test_the_limit_is_read_from_the_answer(words: str, limit: int | None) -> None:
    assert read_limit(words) == limit


def test_nothing_is_known_before_the_first_answer() -> None:
    pace = MinutePace()
    pace.sent(1_000_000, NOW)
    assert pace.allowance(NOW) is None


def test_a_minute_used_up_lets_nothing_through_until_the_next() -> None:
    pace = MinutePace()
    pace.used_up(OVER, NOW)
    assert pace.allowance(NOW) == 0
    assert pace.allowance(NOW + timedelta(seconds=39.9)) == 0
    assert pace.allowance(NOW + timedelta(seconds=40)) == 100


def test_own_rows_are_counted_by_minute_once_the_limit_is_known() -> None:
    pace = MinutePace()
    pace.used_up(OVER, NOW - timedelta(minutes=1))
    pace.sent(70, NOW)
    assert pace.allowance(NOW) == 30
    pace.sent(30, NOW)
    assert pace.allowance(NOW) == 0
    assert pace.allowance(NOW + timedelta(minutes=1)) == 100


def test_an_answer_without_a_limit_keeps_the_known_one() -> None:
    pace = MinutePace()
    pace.used_up(OVER, NOW)
    pace.used_up("Rate limit exceeded", NOW)
    assert pace.limit == 100


def test_the_wait_ends_early_in_the_next_minute_and_differs_between_tasks() -> None:
    waits = [MinutePace(random.Random(seed)).until_next_minute(NOW) for seed in range(200)]
    ends = [(NOW + timedelta(seconds=wait)) for wait in waits]
    assert {minute_of(end) for end in ends} == {minute_of(NOW) + timedelta(minutes=1)}
    # At most 3 % of the minute is lost to it.
    assert max(end.second + end.microsecond / 1e6 for end in ends) < 60 * 0.03
    assert max(waits) - min(waits) > 0.5


def test_pauses_double_up_to_a_bound_with_jitter() -> None:
    rng = random.Random(0)
    many = [[pause(attempt, rng) for _ in range(100)] for attempt in range(1, 12)]
    for attempt, pauses in enumerate(many):
        longest = min(LONGEST_PAUSE, 2.0**attempt)
        assert longest / 2 <= min(pauses) < max(pauses) <= longest
