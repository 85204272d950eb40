# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Running the stand-in: in a thread of this process with switches and look-ups, or in its own process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import uvicorn

from airflow_provider_deepchecks.local_server.app import Exchange, FrontDoor, create_app
from airflow_provider_deepchecks.local_server.errors import ServerFault
from airflow_provider_deepchecks.local_server.faults import CannedAnswer
from airflow_provider_deepchecks.local_server.handle import CreatedVersion, Handle
from airflow_provider_deepchecks.local_server.options import DEFAULT_TOKEN, Options
from airflow_provider_deepchecks.local_server.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from airflow_provider_deepchecks.local_server.clock import Clock
    from airflow_provider_deepchecks.local_server.storage import ErrorRow, Model, Version

__all__ = ["CreatedVersion", "LocalServer", "ServerProcess", "listen", "uvicorn_server"]

#: The real server closes an idle connection after so many seconds.
KEEP_ALIVE = 5

#: Seconds to wait for a start or a stop.
_PATIENCE = 30.0

T = TypeVar("T")


def _is_no_planned_fault(record: logging.LogRecord) -> bool:
    # A ServerFault is the real server's own failure played back: its traceback would tell nothing.
    return not (record.exc_info and isinstance(record.exc_info[1], ServerFault))


def uvicorn_server(state: State, *, log_level: str | None = None) -> tuple[uvicorn.Server, FrontDoor]:
    """The web server of a state, set up as the real one.

    :param log_level: for uvicorn's own logging to the terminal; None leaves logging alone, but for a server
        that cannot start.
    :return: the server, to be run on the socket of :func:`listen`, and what stands before it.
    """
    front_door = FrontDoor(create_app(state), state)
    config = uvicorn.Config(
        front_door,
        timeout_keep_alive=KEEP_ALIVE,
        # A request that hangs in a test is no reason to wait for it at the end.
        timeout_graceful_shutdown=1,
        # The Date header follows the stand-in's own clock.
        date_header=False,
        log_config=uvicorn.config.LOGGING_CONFIG if log_level else None,
        log_level=log_level or "critical",
        access_log=log_level in {"info", "debug"},
    )
    logging.getLogger("uvicorn.error").addFilter(_is_no_planned_fault)
    return uvicorn.Server(config), front_door


def listen(host: str, port: int) -> socket.socket:
    """The socket that a server serves.

    :param host: name or IPv4 address to listen on.
    :param port: port to listen on, 0 for any free one.
    :raises OSError: when something else listens there.
    :raises OverflowError: when there is no such port.
    """
    # asyncio switches Nagle's algorithm off only where it sees that a socket is TCP; left on, every answer
    # on a kept-alive connection takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


class LocalServer(Handle):
    """A stand-in in a thread of this process; a context manager.

    :param options: settings; by default in memory, without a queue, with as many models as one likes.
    :param host: address to listen on.
    :param port: port to listen on, 0 for any free one.
    """

    def __init__(self, options: Options | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.options = options or Options(one_model=False)
        self._socket = listen(host, port)
        super().__init__(f"http://{host}:{self._socket.getsockname()[1]}", self.options.token)
        self._state = State(self.options)
        self._server, self._front_door = uvicorn_server(self._state)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="deepchecks-stand-in", daemon=True)

    def _run(self) -> None:
        self._loop.run_until_complete(self._server.serve(sockets=[self._socket]))

    def start(self) -> Self:
        """Start and wait until it answers."""
        self._thread.start()
        deadline = time.monotonic() + _PATIENCE
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the stand-in did not start")
            time.sleep(0.002)
        return self

    def stop(self) -> None:
        """Stop; what is not in a database file is gone."""
        self._server.should_exit = True
        self._thread.join(_PATIENCE)
        self._loop.close()
        self._state.storage.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _on_loop(self, work: Callable[[], T]) -> T:
        # The state belongs to the server's thread.
        async def run() -> T:
            return work()

        coroutine: Coroutine[Any, Any, T] = run()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE)

    # -- switches -------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The server's clock; move it to test skew and the borders of minutes."""
        return self._state.clock

    @property
    def rows_per_minute(self) -> int:
        """The rate limit; setting it begins the current minute anew."""
        return self._state.rate_limit.rows_per_minute

    @rows_per_minute.setter
    def rows_per_minute(self, rows: int) -> None:
        self._on_loop(lambda: self._state.rate_limit.restart(rows))

    @property
    def broker_down(self) -> bool:
        """Whether uploads fail because the broker is down (with a consumer only)."""
        return self._state.faults.broker_down

    @broker_down.setter
    def broker_down(self, is_down: bool) -> None:
        self._on_loop(lambda: setattr(self._state.faults, "broker_down", is_down))

    def lose_next_poll(self, polls: int = 1) -> None:
        """Lose the rows of the consumer's next polls: stored nowhere, listed nowhere."""

        def lose() -> None:
            self._state.faults.polls_to_lose += polls

        self._on_loop(lose)

    def pause_consumer(self) -> None:
        """Let uploads wait in the queue."""
        self._on_loop(lambda: setattr(self._state.faults, "consumer_paused", True))

    def resume_consumer(self) -> None:
        """Go on reading the queue."""
        self._on_loop(lambda: setattr(self._state.faults, "consumer_paused", False))

    def wait_until_idle(self, timeout: float = _PATIENCE) -> None:
        """Wait until the consumer has dealt with everything queued.

        :param timeout: seconds.
        :raises TimeoutError: when it has not.
        """
        deadline = time.monotonic() + timeout
        while self.options.consumer and not self._on_loop(lambda: self._state.consumer.idle):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the consumer is still busy after {timeout} s")
            time.sleep(0.01)

    def answer_next(
        self,
        status: int,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        path: str = "",
        times: int = 1,
    ) -> None:
        """Give this answer to the next requests instead of handling them, as a proxy in trouble would.

        :param path: only to requests whose path holds this text.
        :param times: how many requests.
        """
        answer = CannedAnswer(status, body, dict(headers or {}), path)
        self._on_loop(lambda: self._state.faults.answers.extend([answer] * times))

    # -- look-ups -------------------------------------------------------------------------------------------

    @property
    def exchanges(self) -> list[Exchange]:
        """The newest requests (10,000 at most), oldest first."""
        return self._on_loop(lambda: list(self._front_door.exchanges))

    def stored(self, model: str, version: str) -> dict[str, dict[str, Any]]:
        """All stored rows of a version by sample id, as they were sent."""

        def read() -> dict[str, dict[str, Any]]:
            found = self._find_version(model, version)
            rows = self._state.storage.samples(found, -(2**62), 2**62, -1, shuffled=False)
            return {row["_dc_sample_id"]: row for row in (json.loads(text) for text, _ in rows)}

        return self._on_loop(read)

    def labels(self, model: str) -> dict[str, Any]:
        """All labels of a model by sample id."""

        def read() -> dict[str, Any]:
            found = self._find_model(model)
            labels = self._state.storage.labels(found.id)
            return {sample_id: None if label is None else json.loads(label) for sample_id, label in labels}

        return self._on_loop(read)

    def errors(self, model: str, version: str | None = None) -> list[ErrorRow]:
        """All ingestion errors of a model, or of one of its versions, oldest first."""

        def read() -> list[ErrorRow]:
            where = [("version_id = ?", self._find_version(model, version).id)] if version is not None else []
            return self._state.storage.errors(self._find_model(model).id, where, "id", -1, 0)

        return self._on_loop(read)

    def _find_model(self, name: str) -> Model:
        if model := self._state.storage.model(name=name):
            return model
        raise KeyError(f"no model {name!r}")

    def _find_version(self, model: str, name: str) -> Version:
        if version := self._state.storage.version_by_name(self._find_model(model).id, name):
            return version
        raise KeyError(f"no version {name!r} of model {model!r}")


class ServerProcess(Handle):
    """A stand-in in a process of its own, which a test may kill; a context manager.

    :param options: settings; with a database file it can be killed and started again on the same state. Its
        ``offset_lag`` and ``broker_timeout`` are always the defaults.
    :param port: port to listen on, 0 for any free one.
    """

    def __init__(self, options: Options | None = None, *, port: int = 0) -> None:
        self.options = options or Options(one_model=False)
        if port == 0:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(f"http://127.0.0.1:{port}", self.options.token)

    @property
    def pid(self) -> int:
        """Id of the process."""
        if self._process is None:
            raise RuntimeError("the stand-in is not running")
        return self._process.pid

    def start(self) -> Self:
        """Start and wait until it answers."""
        command = [
            sys.executable,
            "-m",
            "airflow_provider_deepchecks.local_server",
            "--port",
            str(self._port),
        ]
        environment = {**os.environ, "DEEPCHECKS_STAND_IN_TOKEN": self.options.token}
        self._process = subprocess.Popen(
            [*command, *_arguments(self.options)], stdout=subprocess.DEVNULL, env=environment
        )
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the stand-in did not start")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_PATIENCE)
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _arguments(options: Options) -> list[str]:
    default = replace(Options(), token=DEFAULT_TOKEN)
    arguments = [] if options.one_model else ["--unlimited-models"]
    arguments += ["--consumer"] if options.consumer else []
    for name in ("database", "rows_per_minute", "consumer_delay", "poll_size", "clock_offset"):
        value = getattr(options, name)
        if value != getattr(default, name):
            arguments += [f"--{name.replace('_', '-')}", str(value)]
    return arguments
