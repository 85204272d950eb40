# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Time as an upload sees it: waiting that can be cancelled, and the server's clock."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from airflow_provider_deepchecks.exceptions import DeepchecksError

if TYPE_CHECKING:
    from collections.abc import Callable


class UploadCancelledError(DeepchecksError):
    """The upload was told to stop. What was acknowledged stays; a retry goes on from there."""

    retryable = True


class Clock(Protocol):
    """What an upload needs of time."""

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...

    def server_now(self) -> datetime:
        """The server's clock (UTC, as exact as its ``Date`` headers: ±1 s)."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait.

        :raises UploadCancelledError: the upload was cancelled, before or during the wait.
        """
        ...

    def check(self) -> None:
        """Raise when the upload was cancelled.

        :raises UploadCancelledError: the upload was cancelled.
        """
        ...


class SystemClock:
    """The real clock.

    :param server_now: gives the server's time; the local clock when None.
    :param cancelled: set it, from any thread, to stop the upload at its next step.
    """

    def __init__(
        self, server_now: Callable[[], datetime] | None = None, cancelled: threading.Event | None = None
    ) -> None:
        self._server_now = server_now or (lambda: datetime.now(UTC))
        self._cancelled = cancelled or threading.Event()

    def monotonic(self) -> float:
        return time.monotonic()

    def server_now(self) -> datetime:
        return self._server_now()

    def sleep(self, seconds: float) -> None:
        self._cancelled.wait(max(0.0, seconds))
        self.check()

    def check(self) -> None:
        if self._cancelled.is_set():
            raise UploadCancelledError("The upload was cancelled. Run it again: it goes on where it stopped.")
