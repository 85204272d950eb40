# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A proxy between a worker and the server that kills the worker at a chosen moment.

It finds the process by the connection that the request came over, so nothing in the package or in the DAG
knows of it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds to wait for what must come.
PATIENCE = 60.0


class Moment(StrEnum):
    """When the worker dies."""

    #: The intent to send is written down, the request never reaches the server.
    INTENT_WRITTEN = "intent written"
    #: The request is on its way; the server handles it when its sender is dead.
    DURING_REQUEST = "during a request"
    #: The server has saved the rows, the answer was not read and the checkpoint not written.
    SAVED = "saved"
    #: The last answer was read; the first look at what the server made of the rows is under way.
    LAST_ACKNOWLEDGED = "last acknowledged"
    #: The rows are being sorted on disk, none was sent.
    SORTING = "sorting"
    #: Some time after the first request of an attempt.
    ANY_TIME = "any time"


@dataclass(frozen=True)
class Kill:
    """One kill.

    :param at: the sending request at which it happens, counted over all attempts from 1.
    :param after: of ``ANY_TIME``: seconds.
    :param whole_worker: kill what supervises the task too, as a machine that goes down does. Then nobody
        reports the end, and Airflow finds out by the heartbeats that stay away.
    """

    moment: Moment
    at: int = 4
    after: float = 0.0
    whole_worker: bool = False


@dataclass
class Sent:
    """A sending request.

    :param ids: of its rows.
    :param acknowledged: its answer was given to a worker that was alive.
    """

    ids: list[str]
    acknowledged: bool = False


@dataclass
class KillingProxy:
    """The proxy; a context manager.

    :param target: URL of the server behind.
    :param kills: what happens, in this order.
    :param rows: rows that the upload has in all.
    :param supervisors: processes of Airflow that live on when a whole worker dies.
    :param pace: seconds by which each request is slowed down.
    """

    target: str
    kills: Iterable[Kill]
    rows: int
    supervisors: set[int] = field(default_factory=set)
    pace: float = 0.0
    #: Sending requests, oldest first.
    sent: list[Sent] = field(default_factory=list)
    #: Ids of the processes killed.
    killed: list[int] = field(default_factory=list)
    #: What went wrong in a thread of the proxy.
    errors: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        parts = urlsplit(self.target)
        assert parts.hostname is not None
        self._behind = (parts.hostname, parts.port or 80)
        self._planned = deque(self.kills)
        self._lock = threading.RLock()
        self._timed: set[int] = set()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def planned(self) -> int:
        """Kills still to come."""
        return len(self._planned)

    def acknowledged(self) -> int:
        """Rows in requests that were acknowledged."""
        return len({sample_id for request in self.sent if request.acknowledged for sample_id in request.ids})

    # -- killing ---------------------------------------------------------------------------------------------

    def due(self, *, sending: bool, path: str) -> Kill | None:
        """The kill that this request brings about, taken from the plan."""
        with self._lock:
            kill = self._planned[0] if self._planned else None
            if kill is None or kill.moment is Moment.ANY_TIME:
                return None
            now = {
                Moment.LAST_ACKNOWLEDGED: not sending and self.acknowledged() == self.rows,
                # Looked up shortly before the rows are read.
                Moment.SORTING: path.endswith("/schema"),
            }
            if now.get(kill.moment, sending and len(self.sent) >= kill.at):
                return self._planned.popleft()
            return None

    def awaits_timer(self) -> bool:
        """Whether the next kill comes some time after an attempt has begun."""
        with self._lock:
            return bool(self._planned) and self._planned[0].moment is Moment.ANY_TIME

    def set_timer(self, pid: int) -> None:
        """Begin the time after which this process dies, if that is planned."""
        with self._lock:
            kill = self._planned[0] if self._planned else None
            if kill is None or kill.moment is not Moment.ANY_TIME or pid in self._timed:
                return
            self._timed.add(pid)

        def end() -> None:
            with self._lock:
                self._planned.popleft()
            self.kill(pid, kill)

        timer = threading.Timer(kill.after, end)
        timer.daemon = True
        timer.start()

    def kill(self, pid: int, kill: Kill) -> None:
        """End a process, and what is above it where a whole worker goes; return when it is gone."""
        task = psutil.Process(pid)
        doomed = [task]
        if kill.whole_worker:
            # The one on top first, so that none can report the end of another.
            parents = task.parents()
            pids = [parent.pid for parent in parents]
            last = next((place for place, pid in enumerate(pids) if pid in self.supervisors), 0)
            doomed = [*reversed(parents[:last]), task]
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.killed.append(pid)
        deadline = time.monotonic() + PATIENCE
        while psutil.pid_exists(pid) and time.monotonic() < deadline:
            with contextlib.suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                    return
            time.sleep(0.01)

    def kill_while_sorting(self, pid: int, kill: Kill) -> None:
        """End a process as soon as it has rows on disk."""
        deadline = time.monotonic() + PATIENCE
        while not _writes_nameless_file(pid):
            if time.monotonic() > deadline or self.sent:
                self.errors.append("the rows were not sorted on disk before they were sent")
                break
            time.sleep(0.002)
        self.kill(pid, kill)

    # -- requests --------------------------------------------------------------------------------------------

    def client_of(self, port: int) -> int:
        """The process at the other end of a connection from this port."""
        here = self._server.server_address[1]
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.raddr and connection.pid:
                ends = (connection.laddr.port, connection.raddr.port)
                if ends == (port, here):
                    return int(connection.pid)
        raise LookupError(f"no process has a connection from port {port}")

    def forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Let the server handle a request."""
        connection = http.client.HTTPConnection(*self._behind, timeout=PATIENCE)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def begin(self, body: bytes) -> Sent:
        """Note a sending request."""
        request = Sent([row["_dc_sample_id"] for row in json.loads(body)])
        with self._lock:
            self.sent.append(request)
        return request


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a connection that breaks off is what happens here


class _Handler(BaseHTTPRequestHandler):
    owner: KillingProxy
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: two would wait 40 ms for each other.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # quiet
        pass

    def _handle(self) -> None:
        try:
            self._pass_on()
        except OSError:
            raise
        except Exception as error:
            self.owner.errors.append(repr(error))
            raise

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def _pass_on(self) -> None:
        owner = self.owner
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "host")}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        port = self.client_address[1]
        if owner.awaits_timer():
            # A process that died after it had sent this needs no timer.
            with contextlib.suppress(LookupError):
                owner.set_timer(owner.client_of(port))
        time.sleep(owner.pace)
        sending = self.path.endswith(("/data", "/labels"))
        request = owner.begin(body) if sending else None
        kill = owner.due(sending=sending, path=self.path)
        if kill is None:
            status, fields, content = owner.forward(self.command, self.path, headers, body)
            self._answer(status, fields, content)
            if request is not None:
                request.acknowledged = status == 200
            return
        pid = owner.client_of(port)
        if kill.moment is Moment.SORTING:
            # In a thread: more look-ups come over this connection.
            threading.Thread(target=owner.kill_while_sorting, args=(pid, kill), daemon=True).start()
            self._answer(*owner.forward(self.command, self.path, headers, body))
            return
        if kill.moment is Moment.SAVED:
            owner.forward(self.command, self.path, headers, body)
        owner.kill(pid, kill)
        if kill.moment is Moment.DURING_REQUEST:
            owner.forward(self.command, self.path, headers, body)
        self.close_connection = True

    def _answer(self, status: int, fields: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in fields:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _writes_nameless_file(pid: int) -> bool:
    """Whether a process has an open file that has contents and no name, as a sort's temporary file is."""
    folder = f"/proc/{pid}/fd"
    for number in os.listdir(folder):
        with contextlib.suppress(OSError):
            path = f"{folder}/{number}"
            if os.readlink(path).endswith("(deleted)") and os.stat(path).st_size > 1_000_000:
                return True
    return False
