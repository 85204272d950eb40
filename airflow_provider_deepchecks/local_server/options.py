# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""How the stand-in is set up."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from airflow_provider_deepchecks.local_server.ratelimit import DEFAULT_ROWS_PER_MINUTE

#: A well-formed token: base64 of the user's e-mail, a dot, a secret.
DEFAULT_TOKEN = "ZGVtb0BleGFtcGxlLmNvbQ==.stand-in-secret"

#: The server version whose behaviour was measured.
SERVER_VERSION = "0.19.3"

_YEAR = 365 * 86_400


@dataclass(frozen=True)
class Options:
    """Settings of one stand-in.

    :param token: the API token it accepts.
    :param database: SQLite file that keeps the state over a restart; None keeps it in memory.
    :param rows_per_minute: rate limit.
    :param one_model: refuse a second model with 402, as the open-source edition does.
    :param consumer: queue the uploads and let a consumer write them later ("with Kafka").
    :param consumer_delay: seconds the consumer waits before each poll.
    :param poll_size: rows of a poll.
    :param offset_lag: seconds between a poll's rows being stored and its pending rows being written.
    :param broker_timeout: seconds an upload waits for a broker that is down.
    :param clock_offset: seconds the server's clock is ahead of the machine's.
    :raises ValueError: a token that the server refuses before it compares it, a poll of no rows, or
        seconds that no clock has.
    """

    token: str = field(default=DEFAULT_TOKEN, repr=False)
    database: str | None = None
    rows_per_minute: int = DEFAULT_ROWS_PER_MINUTE
    one_model: bool = True
    consumer: bool = False
    consumer_delay: float = 0.5
    poll_size: int = 500
    offset_lag: float = 0.05
    broker_timeout: float = 5.0
    clock_offset: float = 0.0

    def __post_init__(self) -> None:
        email, dot, _ = self.token.partition(".")
        try:
            base64.b64decode(email).decode()
        except ValueError:
            dot = ""
        if not dot:
            raise ValueError("the token must be '<base64 of an e-mail>.<secret>'")
        if self.poll_size < 1:
            raise ValueError(f"a poll of {self.poll_size} rows: give at least 1")
        if not 0 <= self.consumer_delay <= _YEAR:
            raise ValueError(f"a delay of {self.consumer_delay:g} s: give seconds from 0 to a year")
        if not -_YEAR <= self.clock_offset <= _YEAR:
            raise ValueError(f"a clock {self.clock_offset:g} s ahead: give a year at most")
