# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The parts of one stand-in, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_deepchecks.local_server.broker import Broker
from airflow_provider_deepchecks.local_server.clock import Clock
from airflow_provider_deepchecks.local_server.consumer import Consumer
from airflow_provider_deepchecks.local_server.faults import Faults
from airflow_provider_deepchecks.local_server.ingest import Ingest
from airflow_provider_deepchecks.local_server.ratelimit import RateLimit
from airflow_provider_deepchecks.local_server.storage import Storage

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server.options import Options


class State:
    """Everything the routes work with.

    :param options: settings.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = Clock(options.clock_offset)
        #: When it was made, in microseconds since 1970.
        self.started = self.clock.now()
        self.rate_limit = RateLimit(self.clock, options.rows_per_minute)
        self.faults = Faults()
        self.storage = Storage(options.database or ":memory:")
        self.ingest = Ingest(self.storage, self.clock)
        self.broker = Broker(self.storage.connection)
        self.consumer = Consumer(options, self.storage, self.broker, self.ingest, self.faults, self.clock)
