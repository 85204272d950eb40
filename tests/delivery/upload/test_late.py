# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_deepchecks.delivery.upload import late
from airflow_provider_deepchecks.delivery.upload.late import LateRows
from airflow_provider_deepchecks.records.checks.checked import Checked
from tests.delivery.conftest import START, rows, stream, uploader

SECOND = timedelta(seconds=1)


def store(client: Any, clock: Any, *batches: pa.RecordBatch) -> None:
    """Put rows into the version, whatever their order."""
    for batch in batches:
        uploader(client, clock).run(stream(batch))


def late_positions(check: LateRows, batch: pa.RecordBatch) -> list[int]:
    """The rows that a check sets aside."""
    checked = check(Checked(batch, 0, batch, (), "_dc_sample_id"))
    assert checked.rows.num_rows + checked.bad_indices.size == batch.num_rows
    return [int(row) for row in checked.bad_indices]


def check_for(client: Any, version: Any, **more: Any) -> LateRows:
    """A check against the version's newest sample as it is now."""
    watermark = client.version(version.id).end_time
    return LateRows(client, version.id, watermark, **{"repeated": False, **more})


def test_rows_in_order_cost_nothing(client, version, clock, deepchecks_server):
    store(client, clock, rows(5))
    check = check_for(client, version)
    before = len(deepchecks_server.exchanges)
    # The newest sample's own time is not late.
    assert late_positions(check, rows(6, first=4)) == []
    assert len(deepchecks_server.exchanges) == before


def test_late_rows(client, version, clock):
    store(client, clock, rows(1, first=10))
    batch = rows(12, prefix="n")
    assert late_positions(check_for(client, version), batch) == list(range(10))


def test_stored_rows_are_not_late(client, version, clock):
    store(client, clock, rows(10))
    assert late_positions(check_for(client, version), rows(10)) == []
    # A row that is not stored is late among those that are.
    batch = rows(10, prefix="n").slice(3, 1)
    assert late_positions(check_for(client, version), batch) == [3]


def test_dense_windows_are_read_in_pieces(client, version, clock, monkeypatch):
    monkeypatch.setattr(late, "MAX_LOOKED_UP_ROWS", 7)
    store(client, clock, rows(40))
    assert late_positions(check_for(client, version), rows(40)) == []
    mixed = rows(40, prefix="n").slice(39 - 5, 5)
    assert late_positions(check_for(client, version), mixed) == [34, 35, 36, 37, 38]


def test_too_many_rows_at_one_time(client, version, clock, monkeypatch, caplog):
    """They cannot be told apart: an error for new rows; a retry sends them again."""
    same = rows(20, step=timedelta(0))
    store(client, clock, same, rows(1, first=5, prefix="new"))
    monkeypatch.setattr(late, "MAX_LOOKED_UP_ROWS", 7)
    assert late_positions(check_for(client, version), same) == list(range(20))
    assert late_positions(check_for(client, version, repeated=True), same) == []
    assert "too many to look them up: they are sent again" in caplog.text


def test_reading_has_a_bound(client, version, clock, monkeypatch):
    monkeypatch.setattr(late, "MAX_READ_ROWS", 0)
    monkeypatch.setattr(late, "MAX_LOOKED_UP_ROWS", 10)
    store(client, clock, rows(100))
    spread = rows(100).take(np.array([0, 98]))
    # Two rows may cost six.
    assert late_positions(check_for(client, version), spread) == [0, 98]
    assert late_positions(check_for(client, version), rows(100)) == []


# -- the same task again -----------------------------------------------------------------------------------


def again(client: Any, version: Any, *batches: pa.RecordBatch) -> LateRows:
    """The check of a retry that can read its rows anew."""
    return check_for(client, version, repeated=True, all_rows=lambda: iter(batches))


def test_holes_of_an_earlier_attempt_are_not_late(client, version, clock):
    """The server lost rows out of the middle, and at the start, of what the attempt before had sent."""
    batch = rows(10)
    store(client, clock, batch.slice(2, 3), batch.slice(7, 2))
    assert late_positions(again(client, version, batch), batch) == []


def test_rows_that_were_late_before_are_still_late(client, version, clock):
    """The version held a sample from the middle of the batch before the attempt sent what followed."""
    other = rows(1, first=4, prefix="other")
    batch = rows(10)
    store(client, clock, other, batch.slice(5, 3))
    assert late_positions(again(client, version, batch), batch) == [0, 1, 2, 3]
    # Only the whole batch shows which of the version's rows are the task's own.
    parts = [batch.slice(0, 3), batch.slice(3, 7)]
    check = again(client, version, *parts)
    assert [late_positions(check, part) for part in parts] == [[0, 1, 2], [3]]


def test_rows_at_the_time_of_the_newest_sample_hide_it_from_no_retry(client, version, clock):
    """Days for times: the attempt before sent rows of the very day of the version's newest sample."""
    day = rows(6, start=START + 5 * SECOND, step=timedelta(0))
    store(client, clock, rows(6, prefix="other"), day)
    both = pa.Table.from_batches([rows(3, prefix="new", first=3), day])
    batch = both.combine_chunks().to_batches()[0]
    parts = [batch.slice(0, 5), batch.slice(5)]
    assert late_positions(again(client, version, *parts), batch) == [3, 4]


def test_retry_that_had_sent_nothing(client, version, clock):
    store(client, clock, rows(1, first=20, prefix="other"))
    batch = rows(10)
    assert late_positions(again(client, version, batch), batch) == list(range(10))


def test_rows_that_can_be_read_once(client, version, clock):
    batch = rows(10)
    store(client, clock, batch.slice(5, 5))
    assert late_positions(check_for(client, version, repeated=True), batch) == []


@pytest.mark.parametrize("older", [timedelta(seconds=1), timedelta(days=900), timedelta(microseconds=1)])
def test_newest_sample_before_a_time_is_found_exactly(client, version, clock, older):
    store(client, clock, rows(1, start=START - older, prefix="other"), rows(3))
    check = again(client, version, rows(3))
    assert check._newest_before(START) == START - older
    assert check._newest_before(START - older) is None
