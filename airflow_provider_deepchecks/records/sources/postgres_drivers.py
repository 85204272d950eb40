# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What psycopg2 and psycopg do differently: cursors, parameters, and the text of a COPY as a file."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_deepchecks.records.sources.cursors import Statement

#: Bytes that the thread of psycopg2 collects before it hands them over.
PIECE_BYTES: Final = 2**18
#: Seconds after which a server that does not cancel a COPY is hung up on.
CANCEL_SECONDS: Final = 10.0


class Stream(Protocol):
    """The text of a COPY, as a file that Arrow reads, ahead of us and in a thread of its own.

    A connection and a pipe bear one thread at a time: whoever closes the stream waits for the reading one.
    """

    closed: bool

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, fewer only at the end. What failed in the database is raised here."""

    def close(self) -> None:
        """Stop the COPY when it still runs. Afterwards no thread uses the connection any more."""


class Driver(Protocol):
    """What psycopg2 and psycopg do differently."""

    @property
    def server_version(self) -> int:
        """As 150004."""

    def cursor(self, name: str | None = None) -> Any:
        """Open a cursor that gives tuples; with a name one on the server."""

    def with_parameters(self, statement: Statement) -> str:
        """Write the parameters into the SQL, quoted by the driver: COPY takes none."""

    def copy(self, sql: str) -> Stream:
        """Start a COPY."""


@dataclass(frozen=True)
class Psycopg3:
    """psycopg 3 gives the text of a COPY when asked."""

    connection: Any

    @property
    def server_version(self) -> int:
        """See :class:`Driver`."""
        return int(self.connection.info.server_version)

    def cursor(self, name: str | None = None) -> Any:
        """See :class:`Driver`."""
        from psycopg.rows import tuple_row

        options = {"row_factory": tuple_row}
        return self.connection.cursor(**options) if name is None else self.connection.cursor(name, **options)

    def with_parameters(self, statement: Statement) -> str:
        """See :class:`Driver`."""
        from psycopg import ClientCursor

        if statement.parameters is None:
            return statement.sql
        return str(ClientCursor(self.connection).mogrify(statement.sql, statement.parameters))

    def copy(self, sql: str) -> Stream:
        """See :class:`Driver`."""
        return PulledStream(self.cursor(), sql)


class PulledStream:
    """The text of psycopg's COPY."""

    def __init__(self, cursor: Any, sql: str) -> None:
        self.closed = False
        self._connection = cursor.connection
        self._copy = cursor.copy(sql)
        self._pieces = iter(self._copy.__enter__())
        self._held = bytearray()
        self._ended = False
        self._in_use = threading.Lock()

    def read(self, size: int = -1) -> bytes:
        """See :class:`Stream`."""
        with self._in_use:
            if self.closed:
                return b""
            for piece in self._pieces:
                self._held += piece
                if 0 <= size <= len(self._held):
                    break
            else:
                self._ended = True
            return _take(self._held, size)

    def close(self) -> None:
        """See :class:`Stream`."""
        if self.closed:
            return
        self.closed = True
        if not self._ended:
            with contextlib.suppress(Exception), _stopping(self._connection), self._in_use:
                for _ in self._pieces:
                    pass
        with contextlib.suppress(Exception):
            self._copy.__exit__(None, None, None)


@dataclass(frozen=True)
class Psycopg2:
    """psycopg2 pushes the text of a COPY into a file, so a thread has to run it."""

    connection: Any

    @property
    def server_version(self) -> int:
        """See :class:`Driver`."""
        return int(self.connection.server_version)

    def cursor(self, name: str | None = None) -> Any:
        """See :class:`Driver`."""
        # Whatever the connection was set up with, tuples.
        return self.connection.cursor(name, cursor_factory=import_module("psycopg2.extensions").cursor)

    def with_parameters(self, statement: Statement) -> str:
        """See :class:`Driver`."""
        if statement.parameters is None:
            return statement.sql
        written: bytes = self.cursor().mogrify(statement.sql, statement.parameters)
        return written.decode(import_module("psycopg2.extensions").encodings[self.connection.encoding])

    def copy(self, sql: str) -> Stream:
        """See :class:`Driver`."""
        return PushedStream(self.connection, self.cursor(), sql)


class PushedStream:
    """The text of psycopg2's COPY, through a pipe from the thread that runs it.

    A pipe and not a queue: pieces that one thread makes and another frees left 60 MiB of holes in its heap.
    """

    def __init__(self, connection: Any, cursor: Any, sql: str) -> None:
        self.closed = False
        self._connection = connection
        self._error: Exception | None = None
        self._in_use = threading.Lock()
        reading, writing = os.pipe()
        self._reading = os.fdopen(reading, "rb", buffering=0)
        self._writing = os.fdopen(writing, "wb", buffering=PIECE_BYTES)
        self._thread = threading.Thread(
            target=self._run, args=(cursor, sql), name="deepchecks-copy", daemon=True
        )
        self._thread.start()

    def _run(self, cursor: Any, sql: str) -> None:
        with self._writing:
            try:
                cursor.copy_expert(sql, self._writing)
            except Exception as error:
                self._error = error

    def read(self, size: int = -1) -> bytes:
        """See :class:`Stream`."""
        with self._in_use:
            if self.closed:
                return b""
            if size < 0:
                text = self._reading.readall()
            else:
                block = memoryview(bytearray(size))
                read = 0
                while read < size and (more := self._reading.readinto(block[read:])):
                    read += more
                text = bytes(block[:read])
            if size < 0 or len(text) < size:
                self._thread.join()
                if self._error is not None:
                    # Before the last rows are handed out: an answer that breaks off is not taken for a whole
                    # one.
                    raise self._error
            return text

    def close(self) -> None:
        """See :class:`Stream`."""
        if self.closed:
            return
        self.closed = True
        if self._thread.is_alive():
            with _stopping(self._connection):
                # Its last pieces, so that the thread does not wait for the pipe to empty.
                while self._reading.read(PIECE_BYTES):
                    pass
        self._thread.join()
        with self._in_use:
            self._reading.close()


@contextlib.contextmanager
def _stopping(connection: Any) -> Iterator[None]:
    """Cancel what the server runs for a connection; one that goes on nevertheless is hung up on, so that
    threads that wait for it get an error."""
    hanging_up = threading.Timer(CANCEL_SECONDS, _hang_up, [connection])
    hanging_up.start()
    try:
        with contextlib.suppress(Exception):
            connection.cancel()
        yield
    finally:
        hanging_up.cancel()


def _hang_up(connection: Any) -> None:
    # A driver's own close frees what its other threads are using.
    with contextlib.suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def _take(held: bytearray, size: int) -> bytes:
    end = len(held) if size < 0 else size
    taken = bytes(held[:end])
    del held[:end]
    return taken
