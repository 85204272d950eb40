# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The server's clock, read off the ``Date`` of its answers."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds for which a reading outlives newer ones that are behind it.
_KEEP = 60.0
#: A newer reading this many seconds behind is no late ``Date`` but a clock that was set back.
_SET_BACK = 30.0


class ServerClock:
    """Tells the server's time between its answers; until the first one it is the local clock.

    ``Date`` is cut to whole seconds, and a server that is busy with rows stamps a time from before that work
    (its event loop renews the header about once a second). So a reading can be late and never early: among
    the recent ones the latest is nearest.

    :param wall: local clock, epoch seconds.
    :param monotonic: seconds that never jump.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._offset: float | None = None
        self._read_at = 0.0

    def read(self, server_time: datetime) -> None:
        """Take in the ``Date`` of an answer that came just now."""
        now = self._monotonic()
        offset = server_time.timestamp() - now
        with self._lock:
            if (
                self._offset is None
                or offset >= self._offset
                or now - self._read_at > _KEEP
                or offset < self._offset - _SET_BACK
            ):
                self._offset, self._read_at = offset, now

    def now(self) -> datetime:
        """The server's time, UTC, at most about a second late."""
        with self._lock:
            moment = self._wall() if self._offset is None else self._monotonic() + self._offset
        return datetime.fromtimestamp(moment, UTC)
