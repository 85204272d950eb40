# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_deepchecks.client.clock import ServerClock

START = datetime(2026, 1, 1, tzinfo=UTC)


class Hands:
    """A local wall clock and a monotonic one."""

    wall = 1_000_000.0
    steady = 50.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def clock(hands: Hands) -> ServerClock:
    return ServerClock(lambda: hands.wall, lambda: hands.steady)


def test_local_clock_until_the_first_answer(clock):
    assert clock.now() == datetime.fromtimestamp(1_000_000.0, UTC)


def test_goes_on_by_itself_and_ignores_a_changed_local_clock(clock, hands):
    clock.read(START)
    hands.pass_(2.5)
    hands.wall += 3600
    assert clock.now() == START + timedelta(seconds=2.5)


def test_late_date_does_not_turn_it_back(clock, hands):
    clock.read(START)
    hands.pass_(5)
    clock.read(START)  # the server was busy for 5 s and stamped the time from before
    assert clock.now() == START + timedelta(seconds=5)


def test_nearer_date_moves_it_forward(clock, hands):
    clock.read(START)
    hands.pass_(0.5)
    clock.read(START + timedelta(seconds=1))
    assert clock.now() == START + timedelta(seconds=1)


def test_old_reading_gives_way(clock, hands):
    clock.read(START)
    hands.pass_(61)
    clock.read(START + timedelta(seconds=59))
    assert clock.now() == START + timedelta(seconds=59)


def test_clock_set_back_is_followed_at_once(clock, hands):
    clock.read(START)
    clock.read(START - timedelta(seconds=31))
    assert clock.now() == START - timedelta(seconds=31)
