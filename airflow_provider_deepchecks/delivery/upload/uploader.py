# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The upload: chunks in time order to the server, with what is needed to prove it later and to go on after a
crash.

Around each chunk of samples:

1. Count what the version holds in the chunk's stretch of time. The stretches join up to the receipt's window,
so their sum is exact for the window at its end, though nobody knows that end when a stream begins. A stretch
newer than the version's newest sample is empty: no call. 2. Rows that are stored already are not sent. 3.
Write down what is about to be sent (the intent), send, write down what was acknowledged. An attempt that dies
in between leaves the intent: the next one keeps its count of before and looks which of those rows have
arrived.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.delivery.upload.checkpoint import NoCheckpoint, Progress, resumable
from airflow_provider_deepchecks.delivery.upload.clock import SystemClock
from airflow_provider_deepchecks.delivery.upload.ledger import Ledger
from airflow_provider_deepchecks.delivery.upload.pacing import MinutePace
from airflow_provider_deepchecks.delivery.upload.sending import Sender, without
from airflow_provider_deepchecks.delivery.upload.targets import (
    LabelChannel,
    LabelTarget,
    SampleChannel,
    SampleTarget,
)
from airflow_provider_deepchecks.delivery.window import ALWAYS, TICK
from airflow_provider_deepchecks.records.chunks.chunker import MAX_LABEL_ROWS, Chunk, ChunkSizer

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    import pyarrow as pa

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.delivery.ids import SentIds
    from airflow_provider_deepchecks.delivery.receipt import Receipt
    from airflow_provider_deepchecks.delivery.upload.checkpoint import Checkpoint
    from airflow_provider_deepchecks.delivery.upload.clock import Clock

log = logging.getLogger(__name__)

#: Seconds between two lines of progress in the log.
LOG_EVERY = 10.0
#: Tries to see the same number of rows before and after reading their ids.
_TRIES = 5


@dataclass(frozen=True)
class UploadOptions:
    """How to upload.

    :param source: what is read, for people.
    :param fingerprint: identity of the source; a retry goes on only when it is the same.
    :param total_rows: tells how many rows will go out, once that is known, for the share in the log.
    :param with_labels: send the labels that come with the samples.
    :param repeated: an earlier attempt or run may have sent these rows, and they may still be on their way.
    :param send_timeout: seconds without progress after which to give up.
    """

    source: str = ""
    fingerprint: str = ""
    total_rows: Callable[[], int | None] | None = None
    with_labels: bool = False
    repeated: bool = False
    send_timeout: float = 900.0


class Uploader:
    """Uploads rows to one target, once.

    :param target: a version for samples, a model for labels.
    :param checkpoint: where progress survives a crash. The upload does not clear it: the caller does, when
        the rows have settled, or when they are lost and must be sent again.
    :param sizer: how large a request may be; share it with the one who cuts the chunks.
    :param ids: collects the ids of all rows acknowledged, for the proof by ids.
    :param on_rejected: takes the rows that the server cannot take, with the reason; they then count as
        quarantined.
    """

    def __init__(
        self,
        client: DeepchecksClient,
        target: SampleTarget | LabelTarget,
        options: UploadOptions | None = None,
        *,
        checkpoint: Checkpoint | None = None,
        sizer: ChunkSizer | None = None,
        ids: SentIds | None = None,
        on_rejected: Callable[[pa.RecordBatch, str], None] | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._client = client
        self._target = target
        self._options = options or UploadOptions()
        self._checkpoint = checkpoint or NoCheckpoint()
        self._ids = ids
        self._on_rejected = on_rejected
        self._clock = clock or SystemClock(client.server_now)
        pace = MinutePace(rng)  # one for both: samples and labels share the rate limit
        timeout = self._options.send_timeout
        label_sizer = ChunkSizer(max_rows=MAX_LABEL_ROWS)
        if sizer is not None and isinstance(target, LabelTarget):
            label_sizer = sizer
        labels = LabelChannel(client, target.model_id)
        self._label_sender = Sender(
            labels, self._clock, sizer=label_sizer, pace=pace, send_timeout=timeout, rng=rng
        )
        self._sender = self._label_sender
        self._samples: SampleChannel | None = None
        if isinstance(target, SampleTarget):
            self._samples = SampleChannel(client, target.version_id)
            self._sender = Sender(
                self._samples,
                self._clock,
                sizer=sizer or ChunkSizer(),
                pace=pace,
                send_timeout=timeout,
                rng=rng,
            )
        self._noun = self._sender.noun

    @property
    def started_at(self) -> datetime:
        """When the first attempt at the upload under way began, by the server's clock (UTC)."""
        return self._books.progress.started_at

    def run(self, open_chunks: Callable[[], Iterable[Chunk]], *, rereadable: bool = True) -> Receipt:
        """Upload all chunks.

        :param open_chunks: opens the stream of valid rows, in time order, from its start. Called a second
            time when the rows turn out not to be those of the attempt before.
        :param rereadable: whether a retry gets the same rows in the same order; without it nothing is
            resumed.
        :returns: the receipt, for the valid rows; :meth:`Receipt.with_read` adds the others.
        :raises DeepchecksError: the rows cannot be sent. What was acknowledged is in the checkpoint.
        """
        kept = resumable(self._checkpoint.load(), self._fingerprint()) if rereadable else None
        if kept is not None:
            self._open(kept)
            with _Chunks(open_chunks()) as chunks:
                if self._resume(chunks):
                    return self._receipt()
        # Rows of an attempt that is not gone on with can still be on their way.
        self._open(self._fresh(repeated=self._options.repeated or kept is not None))
        with _Chunks(open_chunks()) as chunks:
            for chunk in chunks:
                self._deliver(chunk, chunks)
        return self._receipt()

    # -- starting and resuming -------------------------------------------------------------------------------

    def _fingerprint(self) -> str:
        target = self._target
        if isinstance(target, SampleTarget):
            where = f"{target.version_id}"
        else:
            # Labels were counted in these versions before.
            where = f"labels of {target.model_id}, {target.version_ids}"
        return f"{self._client.settings.base_url}|{where}|{self._options.fingerprint}"

    def _open(self, progress: Progress) -> None:
        self._books = Ledger(
            progress, self._checkpoint, noun=self._noun, ids=self._ids, on_rejected=self._on_rejected
        )
        self._books.keep(progress)
        self._rows_at_start = progress.acknowledged
        self._started = self._logged = self._clock.monotonic()

    def _fresh(self, *, repeated: bool) -> Progress:
        progress = Progress(self._fingerprint(), self._clock.server_now(), repeated=repeated)
        if isinstance(self._target, SampleTarget):
            return progress
        start, end = self._target.window or (None, None)
        labeled = tuple(
            self._client.window_counts(
                version_id, start or ALWAYS[0], end + TICK if end else ALWAYS[1]
            ).labeled
            for version_id in self._target.version_ids
        )
        return replace(
            progress,
            window_start=start,
            window_end=end,
            labeled_before=sum(labeled),
            labeled_before_each=labeled,
        )

    def _resume(self, chunks: _Chunks) -> bool:
        """Go on where the attempt before stopped. False when the rows are not those that it sent."""
        acknowledged, in_flight = self._books.progress.acknowledged, self._books.progress.in_flight
        position = 0
        while position < acknowledged and (chunk := next(chunks, None)) is not None:
            done, rest = _cut(chunk, acknowledged - position)
            taken = self._books.enter_again(done, position)
            if taken is not None:
                self._sender.took(taken)
            position += done.rows
            chunks.put_back(rest)
        flying = chunks.take(in_flight) if self._books.matches else []
        if not self._books.matches or (
            in_flight and self._books.digest_with(flying) != self._books.progress.in_flight_digest
        ):
            log.warning(
                "The source no longer begins with the %s %s sent before: starting at the first row. Those "
                "that are in stay as they are.",
                f"{acknowledged + in_flight:,}",
                self._noun,
            )
            return False
        if acknowledged:
            log.info("Going on after %s %s sent by an earlier attempt.", f"{acknowledged:,}", self._noun)
        for chunk in flying:
            self._send(chunk, chunks, maybe_sent=True)
        for chunk in chunks:
            self._deliver(chunk, chunks)
        return True

    # -- one chunk -------------------------------------------------------------------------------------------

    def _deliver(self, chunk: Chunk, chunks: _Chunks) -> None:
        """Count what was there before, write down what is about to be sent, send it."""
        progress = replace(
            self._books.progress,
            in_flight=chunk.rows,
            in_flight_digest=self._books.digest_with([chunk]),
            in_flight_stored=0,
        )
        stored: set[str] = set()
        if self._samples is not None and chunk.first_time is not None and chunk.last_time is not None:
            samples, labeled, stored = self._before(self._samples, chunk, chunk.first_time, chunk.last_time)
            progress = replace(
                progress,
                window_start=progress.window_start or chunk.first_time,
                window_end=chunk.last_time,
                counted_until=chunk.last_time,
                samples_before=progress.samples_before + samples,
                labeled_before=progress.labeled_before + labeled,
                in_flight_stored=len(stored),
            )
        self._books.keep(progress)
        self._send(chunk, chunks, stored)

    @cached_property
    def _watermark(self) -> datetime | None:
        """Time of the version's newest sample when sending begins: until then all rows may have to be read
        and sorted, and rows of others come in."""
        assert isinstance(self._target, SampleTarget)
        return self._client.version(self._target.version_id).end_time

    def _before(
        self, channel: SampleChannel, chunk: Chunk, first: datetime, last: datetime
    ) -> tuple[int, int, set[str]]:
        """What is stored already: rows and labelled rows of the stretch of time that this chunk adds to the
        window, and those of its own ids."""
        assert isinstance(self._target, SampleTarget)
        version_id, watermark = self._target.version_id, self._watermark
        counted = self._books.progress.counted_until
        start, end = counted + TICK if counted is not None else first, last + TICK
        if start >= end or watermark is None or start > watermark:
            return 0, 0, set()
        counts = self._client.window_counts(version_id, start, end)
        for _ in range(_TRIES):
            if not counts.samples:
                break
            stored = channel.stored(chunk)
            again = self._client.window_counts(version_id, start, end)
            # Rows of an earlier attempt can still be coming in: ids and count must be of the same moment.
            if stored is None or again == counts:
                return again.samples, again.labeled, (stored or set()).intersection(chunk.sample_ids())
            counts = again
        return counts.samples, counts.labeled, set()

    def _send(
        self, chunk: Chunk, chunks: _Chunks, stored: set[str] | None = None, *, maybe_sent: bool = False
    ) -> None:
        """Send what is not stored, and its labels, and book it.

        :param maybe_sent: the rows are those that the attempt before was about to send when it died.
        """
        todo = without(chunk, stored or set())
        if stored:
            self._sender.took(chunk, stored)
        # With gaps in it, or with labels to follow, a chunk is acknowledged as a whole.
        at_once = todo is chunk and not self._options.with_labels
        found, resent = len(stored or ()), 0
        rejected: list[tuple[int, str]] = []
        dones = (
            self._sender.send(todo, maybe_sent=maybe_sent, following=chunks.peek) if todo is not None else ()
        )
        for done in dones:
            if at_once:
                why = [(0, done.rejected)] if done.rejected is not None else []
                self._books.acknowledge(done.chunk, found=done.found, resent=done.resent, rejected=why)
                self._log_progress()
                continue
            found, resent = found + done.found, resent + done.resent
            if done.rejected is not None:
                place = chunk.sample_ids().index(done.chunk.sample_ids()[0])
                rejected.append((place, done.rejected))
        if not at_once:
            if self._options.with_labels:
                self._send_labels(chunk, rejected)
            self._books.acknowledge(chunk, found=found, resent=resent, rejected=rejected)
            self._log_progress()

    def _send_labels(self, chunk: Chunk, rejected: Sequence[tuple[int, str]]) -> None:
        ids = chunk.sample_ids()
        kept = without(chunk, {ids[place] for place, _ in rejected})
        labels = kept.labels() if kept is not None else None
        for done in self._label_sender.send(labels) if labels is not None else ():
            if done.rejected is None:
                self._books.count_labels(done.chunk.rows)
            else:
                self._books.reject_label(done.chunk.sample_ids()[0], done.rejected)

    def _log_progress(self) -> None:
        now = self._clock.monotonic()
        if now - self._logged < LOG_EVERY:
            return
        rows = self._books.progress.acknowledged
        total = self._options.total_rows() if self._options.total_rows is not None else None
        share = f" ({rows / total:.0%})" if total else ""
        rate = (rows - self._rows_at_start) / max(now - self._started, 1e-9)
        log.info("%s %s sent%s, %s/s.", f"{rows:,}", self._noun, share, f"{rate:,.0f}")
        self._logged = now

    def _receipt(self) -> Receipt:
        self._books.finish(self._clock.server_now())
        return self._books.receipt(
            self._target,
            server=self._client.settings.base_url,
            source=self._options.source,
            with_labels=self._options.with_labels,
        )


class _Chunks:
    """A stream of chunks that can be looked into and put back to; closed, with what it reads from, at the
    end."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = iter(chunks)
        self._next: list[Chunk] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        return self._next.pop() if self._next else next(self._chunks)

    def put_back(self, chunk: Chunk | None) -> None:
        """Have this chunk come next."""
        if chunk is not None:
            self._next.append(chunk)

    def take(self, rows: int) -> list[Chunk]:
        """The next rows, fewer at the end."""
        taken: list[Chunk] = []
        while rows > 0 and (chunk := next(self, None)) is not None:
            part, rest = _cut(chunk, rows)
            self.put_back(rest)
            taken.append(part)
            rows -= part.rows
        return taken

    def peek(self) -> Chunk | None:
        """The chunk that comes next, None at the end."""
        self.put_back(next(self, None))
        return self._next[-1] if self._next else None


def _cut(chunk: Chunk, at: int) -> tuple[Chunk, Chunk | None]:
    """The first rows of a chunk, and the others if there are any."""
    return chunk.split(at) if at < chunk.rows else (chunk, None)
