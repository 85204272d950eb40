# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""When to send: the rate limit's minute, and the pause between attempts.

The server counts the rows of an organisation per clock minute of its own clock, samples and labels of all
tasks together (measured on server 0.19.3; 500,000 by default). It says so only when the minute is used up, so
the limit is learned from that answer. From then on nothing is sent that cannot fit: the rest of a minute that
is used up is waited out, and every task wakes at its own random moment of the next one, so that all of them
get their turn.
"""

from __future__ import annotations

import random
import re
from datetime import datetime, timedelta

#: Seconds added after the minute's border: the server's clock is known to about a second, and late rather
#: than early, so this only covers what is left.
CLOCK_ERROR = 0.25
#: The tasks that wait for a minute spread over this many seconds of it. Little of the minute is lost to it.
SPREAD = 1.0
#: First and longest pause, in seconds, between two attempts.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0

_LIMIT = re.compile(r"you can send (\d+) (?:rows|labels) per minute")


def read_limit(message: str) -> int | None:
    """Rows per minute, from the server's words; None when they do not tell."""
    found = _LIMIT.search(message)
    return int(found[1]) if found else None


def minute_of(moment: datetime) -> datetime:
    """The clock minute a moment belongs to."""
    return moment.replace(second=0, microsecond=0)


def pause(attempt: int, rng: random.Random) -> float:
    """Seconds to wait after the n-th failed attempt (n from 1): doubling, with jitter, never long."""
    longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
    return longest * rng.uniform(0.5, 1.0)


class MinutePace:
    """How many rows may go out in this minute of the server's clock, as far as one sender can know.

    :param rng: source of the jitter.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random()
        self._minute: datetime | None = None
        self._sent = 0
        self._used_up = False
        #: Rows per minute; None until the server tells.
        self.limit: int | None = None

    def allowance(self, now: datetime) -> int | None:
        """Rows that may fit into the server's minute; None when no limit is known, 0 when it is used up."""
        self._turn(now)
        if self._used_up:
            return 0
        if self.limit is None:
            return None
        return max(0, self.limit - self._sent)

    def sent(self, rows: int, now: datetime) -> None:
        """Note rows that the server received."""
        self._turn(now)
        self._sent += rows

    def used_up(self, message: str, now: datetime) -> None:
        """Note the server's answer that the minute is used up."""
        self._turn(now)
        self._used_up = True
        self.limit = read_limit(message) or self.limit

    def until_next_minute(self, now: datetime) -> float:
        """Seconds until a moment of the next minute of the server's clock that is this sender's own."""
        border = minute_of(now) + timedelta(minutes=1)
        return (border - now).total_seconds() + CLOCK_ERROR + self._rng.uniform(0.0, SPREAD)

    def _turn(self, now: datetime) -> None:
        minute = minute_of(now)
        if minute != self._minute:
            self._minute, self._sent, self._used_up = minute, 0, False
