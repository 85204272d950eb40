# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the triggers of one triggerer share: threads, connections, and polls of the same model.

A triggerer may hold a thousand waiting tasks. Their calls run in threads of their own, so that neither the
event loop nor Airflow's own threads are blocked; tasks whose connections say the same share one client and
its threads; and one answer about a model's versions serves all who ask for it within a moment.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from asgiref.sync import sync_to_async

from airflow_provider_deepchecks.client.api import DeepchecksClient
from airflow_provider_deepchecks.exceptions import (
    DeepchecksAuthError,
    DeepchecksNotFoundError,
    DeepchecksServerError,
)
from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from airflow_provider_deepchecks.client.settings import ClientSettings
    from airflow_provider_deepchecks.client.types import ModelRef, VersionRef, VersionStatus
    from airflow_provider_deepchecks.delivery.proof.watch import Looker, Sighting

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Threads for looks at one server; a look is a few calls of some 20 ms each (measured on server 0.19.3).
THREADS = 8
#: Seconds for which one answer about a model serves all who ask.
FRESH_SECONDS = 2.0
#: Seconds for which names and ids are kept: a version's id never changes.
NAMES_SECONDS = 300.0

#: Reads connections. Looks have threads for each server: one that hangs holds up nobody else's.
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="deepchecks-connection")
#: Clients live as long as a trigger uses them.
_clients: WeakValueDictionary[ClientSettings, SharedClient] = WeakValueDictionary()
_lock = threading.Lock()


class SharedClient(DeepchecksClient):
    """A client whose answers about whole models serve all who ask at about the same time."""

    def __init__(self, settings: ClientSettings) -> None:
        super().__init__(settings)
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="deepchecks-look")
        self._kept: dict[object, tuple[float, Any]] = {}
        self._failed: dict[object, tuple[float, DeepchecksServerError]] = {}
        self._locks: dict[object, threading.Lock] = {}
        self._guard = threading.Lock()

    def available_models(self) -> list[ModelRef]:
        models: list[ModelRef] = self._shared("models", NAMES_SECONDS, super().available_models)
        return models

    def resolve(self, model: str, version: str | None = None) -> tuple[ModelRef, VersionRef | None]:  # type: ignore[override]
        try:
            return super().resolve(model, version)
        except DeepchecksNotFoundError:
            # It may be younger than the names that are kept.
            with self._guard:
                self._kept.pop("models", None)
            return super().resolve(model, version)

    def version_statuses(self, model_id: int) -> list[VersionStatus]:
        fetch = super().version_statuses
        statuses: list[VersionStatus] = self._shared(model_id, FRESH_SECONDS, lambda: fetch(model_id))
        return statuses

    def _shared(self, key: object, seconds: float, fetch: Callable[[], Any]) -> Any:
        """The kept answer, or a new one that the others who ask meanwhile wait for; so is its failure."""
        asked = time.monotonic()
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            kept = self._kept.get(key)
            if kept is None or time.monotonic() - kept[0] > seconds:
                # Each for itself would wait out a server that hangs, one after the other.
                failed_at, failure = self._failed.get(key, (0.0, None))
                if failure is not None and failed_at >= asked:
                    raise failure
                try:
                    kept = (time.monotonic(), fetch())
                except DeepchecksServerError as error:
                    self._failed[key] = (time.monotonic(), error)
                    raise
                self._kept[key] = kept
        return kept[1]


class Server:
    """The server of one trigger: its connection is read at the first look, and again after a failed one or a
    refused token, so that a changed token or host is found.

    :param conn_id: Airflow connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._client: SharedClient | None = None
        self._read_again = True

    async def look(self, looker: Looker, started_at: float) -> Sighting:
        """One look, in a thread.

        :param started_at: when the waiting began, epoch seconds.
        """
        if self._read_again:
            self._client = await _in_thread(_pool, self._connect)
        try:
            sighting = await self._look(looker, started_at)
        except DeepchecksAuthError:
            refused, self._client = self._client, await _in_thread(_pool, self._connect)
            if self._client is refused:
                raise
            sighting = await self._look(looker, started_at)
        self._read_again = looker.failed > 0
        return sighting

    async def _look(self, looker: Looker, started_at: float) -> Sighting:
        client = self._client
        assert client is not None
        return await _in_thread(client.pool, lambda: looker.look(client, time.time() - started_at))

    def _connect(self) -> SharedClient:
        try:
            settings = DeepchecksHook(self._conn_id).settings
        except Exception as error:
            # Where the server cannot be reached, the connection's store may be as far away: Airflow then says
            # that there is no such connection.
            if self._client is None:
                raise
            log.warning("The connection cannot be read again, and is used as it was: %s", error)
            return self._client
        with _lock:
            client = _clients.get(settings) or SharedClient(settings)
            _clients[settings] = client
        return client


async def _in_thread(pool: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    """Call in a thread that knows its way back to this event loop: what asks Airflow 3.0 to 3.2 for a
    connection goes back there, and from a loop of its own it breaks the triggerer.
    """
    return await sync_to_async(function, thread_sensitive=False, executor=pool)()
