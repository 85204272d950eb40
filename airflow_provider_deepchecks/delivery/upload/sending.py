# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Getting one chunk to the server, whatever happens in between.

One rule for each way in which a request can end:

- 200: done. Over the rate limit: the first ``num_saved`` rows are done, the rest waits for the next minute.
- Refused connection, HTTP 429: nothing arrived. Wait, send again.
- Reset, time-out, HTTP 502, 503, 504, an answer that is none: it may have arrived. Wait, look which rows are
  stored, send the others; where that cannot be seen, send all: the first write wins, so it changes nothing.
- Body too large for a proxy: half of it.
- HTTP 500: the same as 502, and when it comes back, is it the server or a row? A server that takes another
  row is well, and halving the chunk again and again leads to the rows that it cannot take.
- Wrong token, no such version, a request that is wrong as a whole: no repetition can help.

Everything has an end: without progress for ``send_timeout`` seconds the last error is raised.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from airflow_provider_deepchecks.delivery.upload.pacing import MinutePace, pause
from airflow_provider_deepchecks.exceptions import (
    DeepchecksConnectionError,
    DeepchecksPayloadTooLargeError,
    DeepchecksRateLimitError,
    DeepchecksServerError,
    DeepchecksTimeoutError,
)
from airflow_provider_deepchecks.records.reasons import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Set

    from airflow_provider_deepchecks.client.types import SendResult
    from airflow_provider_deepchecks.delivery.upload.clock import Clock
    from airflow_provider_deepchecks.records.chunks.chunker import Chunk, ChunkSizer

log = logging.getLogger(__name__)

T = TypeVar("T")

#: So often a chunk may answer 500 before it is asked whether a row is the cause.
TRIES_BEFORE_HALVING = 3
#: Looks for rows of a request that timed out before it is sent again, over some 8 s. A server was seen to
#: store 10,000 rows 6 s after its client had given up.
LOOKS_AFTER_TIMEOUT = 4
#: Rows that are tried to find out whether a server that answers 500 takes any.
PROBES = 5
#: Minutes in a row in which others may use up the whole rate limit.
MINUTES_WITHOUT_A_ROW = 60


class Channel(Protocol):
    """What differs between samples and labels."""

    #: ``rows`` or ``labels``.
    noun: str
    #: Whether sending a row twice leaves a trace on the server.
    traces: bool

    def post(self, chunk: Chunk) -> SendResult:
        """Send the chunk once."""
        ...

    def stored(self, chunk: Chunk) -> set[str] | None:
        """Ids stored in the chunk's window, None when that cannot be seen cheaply."""
        ...


@dataclass(frozen=True)
class Done:
    """Rows that are dealt with; in the order of the chunk, without a gap.

    :param found: how many of them were not sent because they were stored already.
    :param resent: how many of them were sent again without knowing whether they had arrived.
    :param rejected: why the server can take none of them, None when it answered 200 to all.
    """

    chunk: Chunk
    found: int = 0
    resent: int = 0
    rejected: str | None = None


@dataclass
class _Piece:
    """A part of a chunk on its way.

    :param maybe: an attempt before may have arrived.
    :param narrowing: part of a chunk that answers HTTP 500 to something in it.
    :param doubted: the server took another row after it answered HTTP 500 to this one.
    :param looks: looks for its rows that are still worth waiting for.
    """

    chunk: Chunk
    maybe: bool = False
    narrowing: bool = False
    doubted: bool = False
    failures: int = 0
    server_errors: int = 0
    failing_since: float | None = None
    looks: int = 1
    resent: int = 0

    def split(self, at: int) -> list[_Piece]:
        """The piece as two."""
        return [
            replace(self, chunk=part, resent=min(self.resent, part.rows)) for part in self.chunk.split(at)
        ]


#: What an attempt leads to: rows dealt with, and pieces to go on with.
_Outcome = tuple[list[Done], list[_Piece]]


class Sender:
    """Sends chunks, one request at a time, in order.

    :param sizer: how large a request may be; learns from time-outs and proxies.
    :param send_timeout: seconds without progress, waiting for the rate limit left out, after which to give
        up.
    """

    def __init__(
        self,
        channel: Channel,
        clock: Clock,
        *,
        sizer: ChunkSizer,
        pace: MinutePace | None = None,
        send_timeout: float = 900.0,
        rng: random.Random | None = None,
    ) -> None:
        #: ``rows`` or ``labels``.
        self.noun = channel.noun
        self._channel = channel
        self._clock = clock
        self._sizer = sizer
        self._rng = rng or random.Random()
        self._pace = pace or MinutePace(self._rng)
        self._send_timeout = send_timeout
        self._accepted: Chunk | None = None
        self._following: Callable[[], Chunk | None] = lambda: None
        self._probed = 0
        self._dry_minutes = 0

    def took(self, chunk: Chunk, ids: Set[str] | None = None) -> None:
        """Note rows that are stored already: one of them shows, if need be, whether the server takes any.

        :param ids: which of the chunk's, None for all.
        """
        known = chunk if ids is None else without(chunk, set(chunk.sample_ids()) - ids)
        if known is not None:
            self._accepted = _first_row(known)

    def send(
        self, chunk: Chunk, *, maybe_sent: bool = False, following: Callable[[], Chunk | None] = lambda: None
    ) -> Iterator[Done]:
        """Send a chunk.

        :param maybe_sent: an earlier attempt, perhaps of another task, may have sent it.
        :param following: gives the rows to come after this chunk.
        :return: the rows dealt with, as soon as they are.
        :raises DeepchecksError: it cannot be sent; rows that were not given back may or may not have arrived.
        """
        self._following = following
        waiting = deque([_Piece(chunk, maybe=maybe_sent)])
        while waiting:
            self._clock.check()
            piece = waiting.popleft()
            fitting = self._fitting(piece)
            if fitting < piece.chunk.rows:
                piece, later = piece.split(fitting)
                waiting.appendleft(later)
            done, pieces = self._attempt(piece, list(waiting))
            waiting.extendleft(reversed(pieces))
            if done:
                # That is progress: what else was split off a failed request has its whole time again.
                for other in waiting:
                    other.failing_since = None
            for item in done:
                yield replace(item, resent=item.resent + self._probed)
                self._probed = 0

    def _attempt(self, piece: _Piece, others: Sequence[_Piece]) -> _Outcome:
        rows = self._not_stored(piece) if piece.maybe else piece.chunk
        if rows is None:
            return [Done(piece.chunk, piece.chunk.rows, piece.resent)], []
        doubtful = rows.rows if piece.maybe and self._channel.traces else 0
        found = piece.chunk.rows - rows.rows
        try:
            self._channel.post(rows)
        except DeepchecksRateLimitError as error:
            return self._over_the_limit(error, piece, rows, doubtful)
        except DeepchecksPayloadTooLargeError as error:
            return self._too_large(error, piece, rows)
        except DeepchecksServerError as error:
            if not error.retryable:
                raise
            if _maybe_received(error):
                piece.maybe = True
                piece.resent = max(piece.resent, doubtful)
            return self._failed(error, piece, rows, others)
        self._pace.sent(rows.rows, self._clock.server_now())
        self._dry_minutes = 0
        self._sizer.recover()
        self._accepted = _first_row(rows)
        return [Done(piece.chunk, found, max(piece.resent, doubtful))], []

    # -- what to send ----------------------------------------------------------------------------------------

    def _fitting(self, piece: _Piece) -> int:
        """Rows of the piece to send now, at least one; waits out a minute that is used up."""
        while True:
            fitting = min(piece.chunk.rows, max(1, self._sizer.rows))
            allowance = self._pace.allowance(self._clock.server_now())
            if allowance is None:
                return fitting
            if allowance:
                return min(fitting, allowance)
            self._next_minute(piece.chunk.rows)

    def _not_stored(self, piece: _Piece) -> Chunk | None:
        """The rows of the piece that have not arrived as far as one can see; None when all have."""
        while True:
            piece.looks -= 1
            try:
                stored = self._channel.stored(piece.chunk)
            except DeepchecksServerError as error:
                log.warning("%s Sending without knowing what has arrived.", error)
                stored = None
            if stored is None:
                return piece.chunk
            rows = without(piece.chunk, stored)
            if rows is not piece.chunk:
                self.took(piece.chunk, stored)
            if rows is None or piece.looks <= 0:
                return rows
            # The server may still be at work on the request that timed out.
            self._clock.sleep(2.0 ** (LOOKS_AFTER_TIMEOUT - piece.looks - 1))

    # -- the rate limit --------------------------------------------------------------------------------------

    def _over_the_limit(
        self, error: DeepchecksRateLimitError, piece: _Piece, rows: Chunk, doubtful: int
    ) -> _Outcome:
        self._pace.used_up(str(error), self._clock.server_now())
        saved = max(0, min(error.num_saved, rows.rows))
        if saved:
            piece.resent = max(piece.resent, min(doubtful, saved))
            self._accepted = _first_row(rows)
        if saved == rows.rows:
            return [Done(piece.chunk, piece.chunk.rows - rows.rows, piece.resent)], []
        self._dry_minutes = 0 if saved else self._dry_minutes + 1
        if self._dry_minutes > MINUTES_WITHOUT_A_ROW:
            raise DeepchecksRateLimitError(
                f"Others used up the organisation's rate limit for {MINUTES_WITHOUT_A_ROW} minutes in a row. "
                "Run fewer uploads at once, or at another time.",
                num_saved=0,
            ) from error
        piece.failing_since = None
        self._next_minute(rows.rows - saved)
        if not saved:
            return [], [piece]
        if rows is not piece.chunk:
            piece.maybe = True  # the next look finds those that were received
            return [], [piece]
        head, tail = piece.split(saved)
        return [Done(head.chunk, resent=head.resent)], [tail]

    def _next_minute(self, rows: int) -> None:
        wait = self._pace.until_next_minute(self._clock.server_now())
        limit = f" of {self._pace.limit:,} rows per minute" if self._pace.limit else ""
        log.info(
            "The rate limit%s is used up: waiting %.0f s for the server's next minute; %s %s of this chunk "
            "to go.",
            limit,
            wait,
            f"{rows:,}",
            self._channel.noun,
        )
        self._clock.sleep(wait)

    # -- failures --------------------------------------------------------------------------------------------

    def _too_large(self, error: DeepchecksPayloadTooLargeError, piece: _Piece, rows: Chunk) -> _Outcome:
        self._sizer.too_large(rows)
        if piece.chunk.rows == 1:
            return [Done(piece.chunk, resent=piece.resent, rejected=f"too large for a proxy: {error}")], []
        log.info("A proxy refused %s %s as too large: halving.", f"{rows.rows:,}", self._channel.noun)
        return [], piece.split(piece.chunk.rows // 2)

    def _failed(
        self, error: DeepchecksServerError, piece: _Piece, rows: Chunk, others: Sequence[_Piece]
    ) -> _Outcome:
        piece.failures += 1
        piece.server_errors = piece.server_errors + 1 if error.status == 500 else 0
        piece.doubted = piece.doubted and error.status == 500
        piece.looks = 1
        if isinstance(error, DeepchecksTimeoutError):
            self._sizer.too_slow(rows)
            piece.looks = LOOKS_AFTER_TIMEOUT
        single = piece.chunk.rows == 1
        suspicious = piece.server_errors >= TRIES_BEFORE_HALVING
        if suspicious and single and self._takes_others(others):
            if piece.doubted:
                return [Done(piece.chunk, resent=piece.resent, rejected=f"HTTP 500: {error}")], []
            # The server may have recovered just now: it is the row only if it fails between two that do not.
            piece.doubted = True
            return [], [piece]
        if not single and error.status == 500 and (piece.narrowing or (suspicious and self._is_well())):
            log.warning("%s Looking for the cause in %s.", error, counted(piece.chunk.rows, self.noun))
            afresh = replace(piece, narrowing=True, failures=0, server_errors=0, failing_since=None)
            return [], afresh.split(piece.chunk.rows // 2)
        self._wait(error, piece)
        return [], [piece]

    def _wait(self, error: DeepchecksServerError, piece: _Piece) -> None:
        now = self._clock.monotonic()
        if piece.failing_since is None:
            piece.failing_since = now
        wait = max(pause(piece.failures, self._rng), error.retry_after or 0.0)
        if now + wait - piece.failing_since > self._send_timeout:
            what = counted(piece.chunk.rows, self.noun)
            if piece.chunk.rows == 1:
                what += f" (id {piece.chunk.sample_ids()[0]!r})"
            raise DeepchecksServerError(
                f"{what} could not be sent within {self._send_timeout:g} s ({piece.failures} attempts in a "
                f"row). The last one: {error} Rows acknowledged before are in; run the task again when the "
                "server is well.",
                status=error.status,
            ) from error
        log.warning("%s Trying again in %.1f s (attempt %d failed).", error, wait, piece.failures)
        self._clock.sleep(wait)

    # -- is it the server or a row? --------------------------------------------------------------------------

    def _is_well(self) -> bool:
        """Whether the server takes a row that it took before; true before there is one."""
        return self._accepted is None or self._takes(self._accepted)

    def _takes_others(self, others: Sequence[_Piece]) -> bool:
        """Whether the server takes any other row than the one that it answers 500 to."""
        if self._accepted is not None:
            return self._takes(self._accepted)
        # No row was taken yet: some of those to come. They are looked for before they are sent again.
        rows = [(piece, at) for piece in others for at in range(piece.chunk.rows)]
        for piece, at in _spread(rows, PROBES):
            if self._takes(_first_row(piece.chunk.tail(at))):
                piece.maybe = True
                return True
        later = self._following()
        places = _spread(range(later.rows), PROBES) if later is not None else ()
        return later is not None and any(self._takes(_first_row(later.tail(at))) for at in places)

    def _takes(self, row: Chunk) -> bool:
        try:
            self._channel.post(row)
        except DeepchecksRateLimitError:
            return True
        except DeepchecksServerError as error:
            log.warning("The server does not take another row either: %s", error)
            return False
        self._probed += 1 if self._channel.traces else 0
        self._accepted = row
        return True


def without(chunk: Chunk, stored: Set[str]) -> Chunk | None:
    """The rows of a chunk whose ids are not among the stored ones; None when all are."""
    if not stored:
        return chunk
    import pyarrow as pa

    missing = [sample_id not in stored for sample_id in chunk.sample_ids()]
    if all(missing):
        return chunk
    return replace(chunk, batch=chunk.batch.filter(pa.array(missing))) if any(missing) else None


def _spread(items: Sequence[T], count: int) -> Sequence[T]:
    """At most so many of the items, from all over."""
    return items[:: max(1, -(-len(items) // count))]


def _first_row(chunk: Chunk) -> Chunk:
    return chunk.split(1)[0] if chunk.rows > 1 else chunk


def _maybe_received(error: DeepchecksServerError) -> bool:
    if isinstance(error, DeepchecksConnectionError):
        return error.maybe_received
    return error.status != 429
