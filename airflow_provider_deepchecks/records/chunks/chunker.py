# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows cut into chunks, each of which is one request.

A chunk is bounded in rows, in bytes and in cells: 10,000 rows of 200 columns took the server 49 s in one
request (measured on server 0.19.3) while clients give up after 60 s, so rows alone are no bound.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.records.batches import close_steps
from airflow_provider_deepchecks.records.chunks.encode import (
    LABEL_COLUMNS,
    encode_labels,
    encode_samples,
    sample_columns,
)
from airflow_provider_deepchecks.records.chunks.sizes import Bytes, estimated_bytes
from airflow_provider_deepchecks.records.columns import LABEL, SAMPLE_ID, TIME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

Kind = Literal["samples", "labels"]

MAX_ROWS: Final = 10_000
#: A label request costs more than its share of rows: 2,000 took 0.4 s, 20,000 14.9 s (measured on 0.19.3).
MAX_LABEL_ROWS: Final = 2_000
MAX_BYTES: Final = 4_000_000
MAX_CELLS: Final = 400_000

#: Share of the byte bound to aim at: a body that comes out too large is encoded in vain.
_AIM: Final = 0.97


@dataclass(frozen=True)
class Chunk:
    """Rows of one request, in the order they are sent.

    :param batch: wire rows, with ``__position`` and ``__time``.
    :param kind: ``samples`` sends all columns, ``labels`` the id and ``_dc_label``.
    """

    batch: pa.RecordBatch
    kind: Kind = "samples"

    @property
    def rows(self) -> int:
        return int(self.batch.num_rows)

    @cached_property
    def body(self) -> bytes:
        """The JSON array, encoded when first asked for and kept."""
        return encode_samples(self.batch) if self.kind == "samples" else encode_labels(self.batch)

    @cached_property
    def first_time(self) -> datetime | None:
        """Oldest sample time, UTC; None when the rows have no time."""
        return self._time("min")

    @cached_property
    def last_time(self) -> datetime | None:
        """Newest sample time, UTC; None when the rows have no time."""
        return self._time("max")

    def sample_ids(self) -> list[str]:
        ids: Any = self.batch.column(SAMPLE_ID)
        return list(ids.to_pylist())

    def split(self, at: int) -> tuple[Chunk, Chunk]:
        """The first ``at`` rows and the others.

        :raises ValueError: when one part would be empty.
        """
        if not 0 < at < self.rows:
            raise ValueError(f"cannot split a chunk of {self.rows} rows at {at}")
        return Chunk(self.batch.slice(0, at), self.kind), Chunk(self.batch.slice(at), self.kind)

    def tail(self, start: int) -> Chunk:
        """The rows that are left once the first ``start`` were received."""
        return Chunk(self.batch.slice(start), self.kind) if start else self

    def labels(self) -> Chunk | None:
        """The labels that came with these samples, None when there are none; a null is a label not known."""
        if LABEL not in self.batch.schema.names:
            return None
        known = self.batch.filter(pc.is_valid(self.batch.column(LABEL)))
        return Chunk(known, "labels") if known.num_rows else None

    def null_labels(self) -> int:
        """Labels of a chunk of labels that take a label back."""
        return int(self.batch.column(LABEL).null_count) if self.kind == "labels" else 0

    def _time(self, which: str) -> datetime | None:
        if TIME not in self.batch.schema.names:
            return None
        found: datetime | None = pc.min_max(self.batch.column(TIME))[which].as_py()
        return found


@dataclass
class ChunkSizer:
    """How large the next chunk may be. The bounds may change while an upload runs.

    :param max_rows: rows a chunk.
    :param max_bytes: bytes of its body; a single larger row goes alone.
    :param max_cells: rows times columns.
    """

    max_rows: int = MAX_ROWS
    max_bytes: int = MAX_BYTES
    max_cells: int = MAX_CELLS
    rows: int = field(init=False)
    cells: int = field(init=False)

    def __post_init__(self) -> None:
        if min(self.max_rows, self.max_bytes, self.max_cells) < 1:
            raise ValueError("bounds of a chunk must be at least 1")
        self.rows, self.cells = self.max_rows, self.max_cells

    def too_large(self, chunk: Chunk) -> None:
        """A proxy refused the body's size: half of it from now on. Its limit will not change during a run."""
        self.max_bytes = max(1, min(self.max_bytes, len(chunk.body) // 2))

    def too_slow(self, chunk: Chunk) -> None:
        """The server did not answer in time: half the rows until it has caught up."""
        self.rows = max(1, min(self.rows, chunk.rows // 2))
        self.cells = max(1, min(self.cells, chunk.rows * len(_columns(chunk.batch, chunk.kind)) // 2))

    def recover(self) -> None:
        """A chunk went through: an eighth more next time, up to what was asked for."""
        self.rows = min(self.max_rows, self.rows + max(1, self.rows // 8))
        self.cells = min(self.max_cells, self.cells + max(1, self.cells // 8))


def chunks(
    batches: Iterable[pa.RecordBatch], sizer: ChunkSizer | None = None, kind: Kind = "samples"
) -> Iterator[Chunk]:
    """Cut a stream of wire batches of any size into encoded chunks; the order of the rows is kept. Closed
    early, it closes the stream.

    Tiny batches are put together, so that only the last chunk may be far below its bounds. The bytes of a
    body are estimated before it is encoded and checked after.

    :param batches: wire batches of one schema.
    :param sizer: bounds, read anew for each chunk.
    :param kind: what the rows are sent as.
    """
    sizer = sizer or ChunkSizer(max_rows=MAX_ROWS if kind == "samples" else MAX_LABEL_ROWS)
    queue = _RowQueue(kind)
    steps = iter(batches)
    try:
        for batch in steps:
            queue.push(batch)
            while queue.holds_more_than(sizer):
                yield queue.pop(sizer)
        while queue.rows:
            yield queue.pop(sizer)
    finally:
        # Here and now: whoever holds on to the rows' generator, as a traceback does, would keep it open.
        close_steps(steps)


class _RowQueue:
    """Rows waiting for their chunk, with the size each is likely to have as JSON."""

    def __init__(self, kind: Kind) -> None:
        self.rows = 0
        self._kind: Kind = kind
        self._batches: deque[tuple[pa.RecordBatch, Bytes]] = deque()
        self._bytes = 0
        #: Bytes of the last body per byte estimated for it.
        self._ratio = 1.0

    def push(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._batches.append(self._added(batch))

    def holds_more_than(self, sizer: ChunkSizer) -> bool:
        """Whether a full chunk can be cut."""
        return self.rows >= self._max_rows(sizer) or self._bytes * self._ratio > sizer.max_bytes * _AIM

    def pop(self, sizer: ChunkSizer) -> Chunk:
        """The next chunk, encoded and within the bounds; one row is never too many."""
        batch, estimated = self._take(self._fitting(sizer))
        chunk = Chunk(batch, self._kind)
        while len(chunk.body) > sizer.max_bytes and chunk.rows > 1:
            fitting = int(chunk.rows * sizer.max_bytes / len(chunk.body) * 0.95)
            chunk, later = chunk.split(max(1, min(fitting, chunk.rows - 1)))
            self._batches.appendleft(self._added(later.batch))
            estimated = int(self._sizes(chunk.batch).sum())
        self._ratio = len(chunk.body) / estimated
        return chunk

    def _sizes(self, batch: pa.RecordBatch) -> Bytes:
        return estimated_bytes(batch, _columns(batch, self._kind))

    def _added(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Bytes]:
        sizes = self._sizes(batch)
        self.rows += batch.num_rows
        self._bytes += int(sizes.sum())
        return batch, sizes

    def _max_rows(self, sizer: ChunkSizer) -> int:
        columns = len(_columns(self._batches[0][0], self._kind)) if self._batches else 1
        return max(1, min(sizer.rows, sizer.cells // columns))

    def _fitting(self, sizer: ChunkSizer) -> int:
        """Rows at the head that fit into a chunk, at least one."""
        rows, room, left = 0, self._max_rows(sizer), sizer.max_bytes * _AIM / self._ratio
        for batch, sizes in self._batches:
            upto = np.cumsum(sizes[: room - rows])
            fitting = int(np.searchsorted(upto, left, side="right"))
            rows += fitting
            if fitting < batch.num_rows:
                break
            left -= int(upto[-1])
        return max(1, rows)

    def _take(self, rows: int) -> tuple[pa.RecordBatch, int]:
        """The first rows as one batch, and the bytes estimated for them."""
        parts: list[pa.RecordBatch] = []
        estimated = 0
        self.rows -= rows
        while rows:
            batch, sizes = self._batches.popleft()
            if batch.num_rows > rows:
                self._batches.appendleft((batch.slice(rows), sizes[rows:]))
                batch, sizes = batch.slice(0, rows), sizes[:rows]
            parts.append(batch)
            rows -= batch.num_rows
            estimated += int(sizes.sum())
        self._bytes -= estimated
        return _together(parts), estimated


def _columns(batch: pa.RecordBatch, kind: Kind) -> Mapping[str, str]:
    return sample_columns(batch.schema) if kind == "samples" else LABEL_COLUMNS


def _together(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(parts) == 1:
        return parts[0]
    return pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
