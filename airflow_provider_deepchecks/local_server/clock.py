# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The one clock of the stand-in: times, minutes of the rate limit and the ``Date`` header all follow it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

#: Microseconds of a second; all stored times are integer microseconds since 1970 (UTC).
SECOND = 1_000_000


class Clock:
    """The machine's clock, shifted by an offset that may change while the server runs, or stopped.

    :param offset: seconds to add to the machine's clock.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset
        self._stopped_at: float | None = None

    def time(self) -> float:
        """Seconds since 1970."""
        return (time.time() if self._stopped_at is None else self._stopped_at) + self.offset

    def stop_at(self, moment: datetime) -> None:
        """Stand still at a moment from now on, so that it does not matter how long what follows takes.
        Only what moves the clock by hand moves it then.

        :param moment: with a time zone.
        """
        self._stopped_at = moment.timestamp() - self.offset

    def now(self) -> int:
        """Microseconds since 1970."""
        return int(self.time() * SECOND)

    def minute(self) -> int:
        """Number of the current clock minute since 1970."""
        return int(self.time() // 60)

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self.offset += seconds

    def go_to_second(self, second: float) -> None:
        """Move the clock forward, by less than a minute, to a second of its minute."""
        self.offset += (second - self.time()) % 60


def to_datetime(microseconds: int) -> datetime:
    """A stored time as an aware datetime in UTC."""
    seconds, rest = divmod(microseconds, SECOND)
    # fromtimestamp() refuses years that the server takes.
    return datetime.fromordinal(719163 + seconds // 86400).replace(
        hour=seconds // 3600 % 24,
        minute=seconds // 60 % 60,
        second=seconds % 60,
        microsecond=rest,
        tzinfo=UTC,
    )


def to_microseconds(moment: datetime) -> int:
    """An aware datetime as a stored time.

    :raises OverflowError: when the time in UTC falls out of the years 1 to 9999.
    """
    moment = moment.astimezone(UTC)
    days = moment.toordinal() - 719163
    seconds = ((days * 24 + moment.hour) * 60 + moment.minute) * 60 + moment.second
    return seconds * SECOND + moment.microsecond


def iso(microseconds: int) -> str:
    """A stored time as the server writes it; in year 1 the offset is missing (measured)."""
    moment = to_datetime(microseconds)
    return (moment.replace(tzinfo=None) if moment.year == 1 else moment).isoformat()
