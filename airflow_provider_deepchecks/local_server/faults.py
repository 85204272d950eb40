# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What a test may break on purpose. Nothing here happens by itself."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class CannedAnswer:
    """An answer given instead of the real one; the request does not reach the server behind.

    :param path: only requests whose path holds this text get it.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""


@dataclass
class Faults:
    """The switches.

    :param broker_down: uploads answer 500 after the broker's time-out, the consumer gets nothing. Other calls
        are answered meanwhile; the real server's process stands still (measured).
    :param consumer_paused: uploads are queued, nothing is read from the queue.
    :param polls_to_lose: so many of the next polls fail: their rows are gone and listed nowhere.
    :param answers: answers to give instead of real ones, first come first served.
    """

    broker_down: bool = False
    consumer_paused: bool = False
    polls_to_lose: int = 0
    answers: deque[CannedAnswer] = field(default_factory=deque)

    def take_answer(self, path: str) -> CannedAnswer | None:
        """The canned answer for a request, if one waits for it."""
        for answer in self.answers:
            if answer.path in path:
                self.answers.remove(answer)
                return answer
        return None
