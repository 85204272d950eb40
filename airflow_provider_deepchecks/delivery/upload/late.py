# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows older than the version's newest sample (its watermark).

Deepchecks asks for the samples of a version in time order. A row that the version holds already is not late,
whenever it is sent again: a retry, a cleared task and a second run must find their own rows in and be
content. Nor is a row late because an earlier attempt of the same task got newer ones in: the server can lose
a poll out of the middle of a batch.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_deepchecks.delivery.proof.observe import stored_rows
from airflow_provider_deepchecks.delivery.upload.targets import MAX_LOOKED_UP_CELLS, MAX_LOOKED_UP_ROWS
from airflow_provider_deepchecks.delivery.window import ALWAYS, TICK
from airflow_provider_deepchecks.records.columns import SAMPLE_ID, TIME
from airflow_provider_deepchecks.records.report import set_aside_late

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.records.checks.checked import Checked

    Mask = npt.NDArray[np.bool_]

log = logging.getLogger(__name__)

#: Rows of the version whose ids are read in one run, besides three for each late row of the batch. Only a
#: large batch that is not in time order comes near: each of its parts spans all of its time.
MAX_READ_ROWS = 1_000_000


class LateRows:
    """Sets aside the late rows of a batch that are not stored already.

    :param watermark: time of the version's newest sample.
    :param repeated: an earlier attempt of this task may have sent these rows.
    :param all_rows: reads all rows of the batch anew; None when they can be read only once.
    """

    def __init__(
        self,
        client: DeepchecksClient,
        version_id: int,
        watermark: datetime,
        *,
        repeated: bool,
        all_rows: Callable[[], Iterator[pa.RecordBatch]] | None = None,
    ) -> None:
        self._client = client
        self._version_id = version_id
        self._watermark: datetime | None = watermark
        self._repeated = repeated
        self._all_rows = all_rows
        self._corrected = not repeated
        self._may_read = MAX_READ_ROWS

    def __call__(self, checked: Checked) -> Checked:
        rows = checked.rows
        older = self._older(rows)
        if self._watermark is None or not older.any():
            return checked
        stored = self._stored(rows.filter(pa.array(older)))
        if stored is None:
            return self._cannot_tell(checked, int(older.sum()))
        spare = _are_in(rows, stored)
        if not self._corrected and (older & ~spare).any():
            self._corrected = True
            self._watermark = self._watermark_before(rows)
            if self._watermark is None:
                return checked
        return set_aside_late(checked, self._watermark, spare=spare)

    def _older(self, rows: pa.RecordBatch) -> Mask:
        times: Any = rows.column(TIME)
        older: Mask = pc.less(times, pa.scalar(self._watermark, times.type)).to_numpy(zero_copy_only=False)
        return older

    def _cannot_tell(self, checked: Checked, count: int) -> Checked:
        assert self._watermark is not None
        if not self._repeated:
            return set_aside_late(checked, self._watermark)
        log.warning(
            "%s rows are older than the version's newest sample; an earlier attempt of this task may have "
            "sent them, and there are too many to look them up: they are sent again.",
            f"{count:,}",
        )
        return checked

    def _watermark_before(self, first: pa.RecordBatch) -> datetime | None:
        """The version's newest sample as it was before an earlier attempt sent rows of this batch.

        Samples go out in time order, so no row that the attempt sent is older than that sample: it is the
        newest one before the earliest of our rows in the version, or one at the very time of that row.
        """
        earliest: datetime | None = None
        as_early = 0  # of our rows, so many have that time
        batches: Iterable[pa.RecordBatch] = [first] if self._all_rows is None else self._all_rows()
        for batch in batches:
            times: Any = batch.column(TIME)
            reached = batch.filter(pc.less_equal(times, pa.scalar(self._watermark, times.type)))
            ours = reached.filter(pa.array(_are_in(reached, self._stored(reached) or set())))
            if ours.num_rows:
                found: Any = ours.column(TIME)
                oldest: datetime = pc.min(found).as_py()
                if earliest is None or oldest < earliest:
                    earliest, as_early = oldest, 0
                as_early += pc.sum(pc.equal(found, pa.scalar(earliest, found.type))).as_py()
        if earliest is None:
            return self._watermark
        if self._count(earliest, earliest + TICK) > as_early:
            return earliest
        return self._newest_before(earliest)

    # -- the version's rows ----------------------------------------------------------------------------------

    def _stored(self, rows: pa.RecordBatch) -> set[str] | None:
        """Ids stored at the times of some rows; None when that would be too many to read."""
        if not rows.num_rows:
            return set()
        times: Any = rows.column(TIME)
        self._may_read += 3 * rows.num_rows
        most = min(MAX_LOOKED_UP_ROWS, max(1_000, MAX_LOOKED_UP_CELLS // rows.num_columns))
        extremes = pc.min_max(times).as_py()
        stretches = [(extremes["min"], extremes["max"] + TICK)]
        found: set[str] = set()
        while stretches:
            start, end = stretches.pop()
            inside = pc.and_(
                pc.greater_equal(times, pa.scalar(start, times.type)),
                pc.less(times, pa.scalar(end, times.type)),
            )
            count = self._count(start, end) if pc.any(inside).as_py() else 0
            if not count:
                continue
            if count <= most:
                self._may_read -= count
                ids = stored_rows(self._client, self._version_id, start, end, most=2 * most)
                if ids is not None:
                    found.update(ids)
                    continue
            if end - start <= TICK or self._may_read < 0:
                return None
            middle = start + (end - start) / 2
            stretches += [(middle, end), (start, middle)]
        return found

    def _newest_before(self, end: datetime) -> datetime | None:
        """Time of the newest sample older than a time; None when there is none. Some 50 counts."""
        start = self._client.version(self._version_id).start_time or ALWAYS[0]
        if start >= end or not self._count(start, end):
            return None
        while end - start > TICK:
            middle = start + (end - start) / 2
            start, end = (middle, end) if self._count(middle, end) else (start, middle)
        return start

    def _count(self, start: datetime, end: datetime) -> int:
        return self._client.window_counts(self._version_id, start, end).samples


def _are_in(rows: pa.RecordBatch, ids: set[str]) -> Mask:
    column: Any = rows.column(SAMPLE_ID)
    mask: Mask = pc.is_in(column, value_set=pa.array(sorted(ids), pa.string()).cast(column.type)).to_numpy(
        zero_copy_only=False
    )
    return mask
