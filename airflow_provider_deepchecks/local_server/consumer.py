# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The consumer of the mode with a queue: reads in polls what was queued, writes it, then the pending rows.

Measured: rows are there a moment before the pending rows say so; one poisonous row loses its whole poll,
which is then listed nowhere; a lost poll writes no pending rows, so after a lost last poll they stay where
they were.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.local_server.errors import ServerFault

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server.broker import Broker, Message, Topic
    from airflow_provider_deepchecks.local_server.clock import Clock
    from airflow_provider_deepchecks.local_server.faults import Faults
    from airflow_provider_deepchecks.local_server.ingest import Ingest
    from airflow_provider_deepchecks.local_server.options import Options
    from airflow_provider_deepchecks.local_server.storage import Storage

#: Seconds between two looks at empty topics.
IDLE = 0.02


class Consumer:
    """Works behind the uploads.

    :param options: delay, poll size and lag.
    """

    def __init__(
        self, options: Options, storage: Storage, broker: Broker, ingest: Ingest, faults: Faults, clock: Clock
    ) -> None:
        self._options = options
        self._storage = storage
        self._broker = broker
        self._ingest = ingest
        self._faults = faults
        self._clock = clock
        self._polling = False

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being written."""
        return not self._polling and not self._broker.waiting()

    async def run(self) -> None:
        """Poll for ever; topics take turns."""
        while True:
            topics = self._broker.waiting()
            if not topics or self._is_held():
                await asyncio.sleep(IDLE)
            for topic in topics:
                await asyncio.sleep(self._options.consumer_delay)
                if self._is_held():
                    break
                self._polling = True
                try:
                    await self._poll(topic)
                finally:
                    self._polling = False

    def _is_held(self) -> bool:
        return self._faults.consumer_paused or self._faults.broker_down

    async def _poll(self, topic: Topic) -> None:
        messages = self._broker.poll(topic, self._options.poll_size)
        last, end = messages[-1].position, self._broker.end(topic)
        written = False
        try:
            if self._faults.polls_to_lose > 0:
                self._faults.polls_to_lose -= 1
                raise ServerFault("a test asked for it")
            with self._storage.transaction():
                self._write(topic, messages)
                self._broker.commit(topic, last)
            written = True
        except ServerFault:
            self._broker.commit(topic, last)
        if written and topic.kind == "samples":
            await asyncio.sleep(self._options.offset_lag)
            self._storage.write_offsets(topic.owner, end, last, self._clock.now())

    def _write(self, topic: Topic, messages: list[Message]) -> None:
        if topic.kind == "labels":
            if model := self._storage.model(id=topic.owner):
                self._ingest.labels(model, (message.row for message in messages))
            return
        version = self._storage.version(topic.owner)
        model = self._storage.model(id=version.model_id) if version else None
        if version and model:
            self._ingest.samples(model, version, ((message.row, message.logged) for message in messages))
