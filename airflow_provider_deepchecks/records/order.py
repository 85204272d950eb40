# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Checked rows in the order of time and id, in bounded memory.

Rows that fit in memory are sorted there. More of them are sorted in runs, which are written to temporary
files and merged. A file has no name, so nothing stays behind, even when the process is killed.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.batches import close_steps, no_rows
from airflow_provider_deepchecks.records.spool import temporary_files

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

#: Bytes of rows held while sorting. Twice as much made large uploads take 60 MiB more, and no less time.
MEMORY_BYTES: Final = 32 * 2**20
#: Runs merged at a time; of more, groups are merged into longer runs first.
FAN_IN: Final = 32
#: Rows of a batch handed out.
BATCH_ROWS: Final = 16_384

TIME: Final = "__time"
ID: Final = "_dc_sample_id"
POSITION: Final = "__position"

_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression="lz4")


def in_time_order(
    batches: Iterable[pa.RecordBatch],
    *,
    ordered: bool = False,
    memory_bytes: int = MEMORY_BYTES,
    directory: str | None = None,
) -> Generator[pa.RecordBatch, None, None]:
    """Bring rows in the order of ``__time`` and ``_dc_sample_id``.

    :param batches: rows with these two columns, neither of them null, all of the same schema.
    :param ordered: whether the source says that they come so; then that is only checked.
    :param memory_bytes: bytes of rows held at a time.
    :param directory: where to keep what does not fit, by default the system's directory for temporary files.
    :raises DeepchecksSourceError: the rows are said to be in order and are not, or the disk is full.
    """
    if ordered:
        return ensure_ordered(batches)
    return sort_batches(batches, memory_bytes=memory_bytes, directory=directory)


def ensure_ordered(batches: Iterable[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
    """Pass rows on while their times do not fall. Ids may come in any order within a time.

    :raises DeepchecksSourceError: naming the two rows that are out of order.
    """
    last: pa.RecordBatch | None = None
    steps = iter(batches)
    try:
        for batch in steps:
            if batch.num_rows:
                times = _times(batch)
                if last is not None and times[0] < _times(last)[0]:
                    raise _disorder(last, batch.slice(0, 1))
                falls = np.flatnonzero(times[1:] < times[:-1])
                if len(falls):
                    raise _disorder(batch.slice(falls[0], 1), batch.slice(falls[0] + 1, 1))
                last = batch.slice(batch.num_rows - 1, 1)
            yield batch
    finally:
        close_steps(steps)


def is_sorted(batches: Iterable[pa.RecordBatch], *, naive_is_utc: bool) -> bool:
    """Whether rows are certain to be in the order of time and id, before they are checked.

    :param batches: two columns as the source has them, the time and the id. Only numbers and points in time
        are sure to keep their order when they are cast; ids count, as text, where two rows have one time.
    :param naive_is_utc: whether times without a zone are UTC. In another zone the clock is put back.
    """
    before: pa.RecordBatch | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        kind: Any = batch.column(0).type
        instant = pa.types.is_timestamp(kind) and (kind.tz is not None or naive_is_utc)
        if batch.column(0).null_count or not (
            instant or pa.types.is_integer(kind) or pa.types.is_floating(kind)
        ):
            return False
        if before is not None and not _rises(pa.Table.from_batches([before, batch.slice(0, 1)])):
            return False
        if not _rises(batch):
            return False
        before = batch.slice(batch.num_rows - 1)
    return True


def _rises(rows: pa.RecordBatch | pa.Table) -> bool:
    times: Any = rows.column(0)
    values = (times.cast(pa.int64()) if pa.types.is_timestamp(times.type) else times).to_numpy()
    if not (values[1:] >= values[:-1]).all():
        return False
    same = pa.array(values[1:] == values[:-1])
    if not pc.any(same, min_count=0).as_py():
        return True
    ids: Any = rows.column(1)
    if not (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
        return False
    first, second = ids.slice(0, len(ids) - 1).filter(same), ids.slice(1).filter(same)
    return bool(pc.all(pc.less_equal(first, second), skip_nulls=False).as_py())


def _disorder(one: pa.RecordBatch, other: pa.RecordBatch) -> DeepchecksSourceError:
    told = [f"sample {row.column(ID)[0]} of {row.column(TIME)[0]}" for row in (one, other)]
    return DeepchecksSourceError(
        f"The source said that its rows are in time order, but {told[1]} comes after {told[0]}. "
        "Give the query a time column with a time type and one time zone"
    )


def sort_batches(
    batches: Iterable[pa.RecordBatch], *, memory_bytes: int = MEMORY_BYTES, directory: str | None = None
) -> Generator[pa.RecordBatch, None, None]:
    """Sort rows, on disk where they take more than ``memory_bytes``. See :func:`in_time_order`."""
    # Sorting makes a copy, so half of the memory holds rows.
    run_bytes = max(1, memory_bytes // 2)
    steps = iter(batches)
    with ExitStack() as files:
        files.callback(close_steps, steps)
        held: list[pa.RecordBatch] = []
        size = 0
        runs: list[Any] = []
        for batch in steps:
            if not batch.num_rows:
                # Kept when it is the only one, for its columns.
                held = held or [batch]
                continue
            if size and size + batch.nbytes > run_bytes:
                runs.append(_spill(_sorted(held), run_bytes, files, directory))
                held, size = [], 0
                # Arrow keeps freed memory for itself: 20 MiB more at each peak.
                pa.default_memory_pool().release_unused()
            held.append(batch)
            size += batch.nbytes
        if not runs:
            if held:
                yield from _pieces(_sorted(held), BATCH_ROWS)
            return
        runs.append(_spill(_sorted(held), run_bytes, files, directory))
        held = []
        while len(runs) > FAN_IN:
            group, runs = runs[:FAN_IN], runs[FAN_IN:]
            runs.append(_write(_merge(group), files, directory))
            for run in group:
                run.close()
        yield from _merge(runs)


def _sorted(held: Sequence[pa.RecordBatch]) -> pa.Table:
    # Dictionaries of different batches are made one, since rows of all go into each batch handed out.
    table = pa.Table.from_batches(held).unify_dictionaries()
    times = table.column(TIME).cast(pa.int64()).to_numpy()
    if (times[1:] > times[:-1]).all():
        # In order as they came, which is common, and no two at the same time: nothing to copy.
        return table
    keys: list[tuple[str, Any]] = [(TIME, "ascending"), (ID, "ascending")]
    if POSITION in table.schema.names:
        keys.append((POSITION, "ascending"))
    return table.take(pc.sort_indices(table, sort_keys=keys))


def _pieces(table: pa.Table, rows: int) -> Generator[pa.RecordBatch, None, None]:
    for start in range(0, max(1, table.num_rows), rows):
        yield (
            table.slice(start, rows).combine_chunks().to_batches()[0]
            if table.num_rows
            else no_rows(table.schema)
        )


def _times(batch: pa.RecordBatch) -> Any:
    return batch.column(TIME).cast(pa.int64()).to_numpy()


# -- runs on disk --------------------------------------------------------------------------------------------


def _spill(table: pa.Table, run_bytes: int, files: ExitStack, directory: str | None) -> Any:
    # The merge holds one batch of each run and a sorted copy of what it takes from them.
    rows = max(1, min(BATCH_ROWS, table.num_rows * run_bytes // (2 * FAN_IN * max(1, table.nbytes))))
    return _write(_pieces(table, rows), files, directory)


def _write(batches: Generator[pa.RecordBatch, None, None], files: ExitStack, directory: str | None) -> Any:
    with temporary_files("Rows to sort", directory):
        file: Any = files.enter_context(tempfile.TemporaryFile(dir=directory))  # noqa: SIM115
        with closing(batches) as steps:
            first = next(steps)
            with pa.ipc.new_stream(
                pa.PythonFile(file, mode="w"), first.schema, options=_COMPRESSED
            ) as writer:
                for batch in chain([first], steps):
                    writer.write_batch(batch)
        file.seek(0)
        return file


class _Run:
    """A sorted run on disk, one batch of it in memory.

    :ivar batch: rows not taken yet; None at the end.
    """

    def __init__(self, file: Any) -> None:
        self._reader: Iterator[pa.RecordBatch] = iter(pa.ipc.open_stream(pa.PythonFile(file, mode="r")))
        self.batch: pa.RecordBatch | None = next(self._reader, None)

    def last(self) -> tuple[int, str]:
        """Key of the last row in memory."""
        assert self.batch is not None
        return int(_times(self.batch)[-1]), self.batch.column(ID)[-1].as_py()

    def take(self, bound: tuple[int, str]) -> pa.RecordBatch:
        """Take the rows in memory up to and with a key."""
        assert self.batch is not None
        batch, times = self.batch, _times(self.batch)
        start, end = (int(np.searchsorted(times, bound[0], side)) for side in ("left", "right"))
        ids: Any = batch.column(ID).slice(start, end - start)
        count = start + int(pc.sum(pc.less_equal(ids, pa.scalar(bound[1], ids.type))).as_py() or 0)
        self.batch = next(self._reader, None) if count == batch.num_rows else batch.slice(count)
        return batch.slice(0, count)


def _merge(files: Sequence[Any]) -> Generator[pa.RecordBatch, None, None]:
    """Merge sorted runs batch by batch.

    No row still on disk comes before the smallest of the last keys in memory, so all rows in memory up to
    that key can be handed out, sorted among themselves.
    """
    runs = [_Run(file) for file in files]
    while runs := [run for run in runs if run.batch is not None]:
        bound = min(run.last() for run in runs)
        taken = [batch for batch in (run.take(bound) for run in runs) if batch.num_rows]
        yield from _pieces(_sorted(taken), BATCH_ROWS)
