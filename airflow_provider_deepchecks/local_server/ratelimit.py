# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows per clock minute: samples and labels together, refused rows too, reference uploads not (measured)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server.clock import Clock

#: The open-source server's own limit.
DEFAULT_ROWS_PER_MINUTE = 500_000


class RateLimit:
    """How many rows the current minute of the server's clock still takes.

    :param clock: the server's clock.
    :param rows_per_minute: the limit.
    """

    def __init__(self, clock: Clock, rows_per_minute: int = DEFAULT_ROWS_PER_MINUTE) -> None:
        self._clock = clock
        self.restart(rows_per_minute)

    def restart(self, rows_per_minute: int) -> None:
        """Set the limit, and begin the current minute anew."""
        self.rows_per_minute = rows_per_minute
        self._minute = self._clock.minute()
        self._used = 0

    def take(self, rows: int) -> int:
        """Use up to ``rows`` of the current minute; the number granted comes back."""
        minute = self._clock.minute()
        if minute != self._minute:
            self._minute, self._used = minute, 0
        granted = min(rows, max(0, self.rows_per_minute - self._used))
        self._used += granted
        return granted
