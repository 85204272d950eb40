# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The way of a row as a whole, without Airflow."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_deepchecks.delivery.upload.batch import Batch, label_job, sample_job
from airflow_provider_deepchecks.delivery.upload.checkpoint import FileCheckpoint
from airflow_provider_deepchecks.delivery.upload.clock import UploadCancelledError
from airflow_provider_deepchecks.exceptions import (
    DeepchecksAuthError,
    DeepchecksConfigError,
    DeepchecksInvalidRowsError,
    DeepchecksLateRowsError,
    DeepchecksNotFoundError,
    DeepchecksPayloadTooLargeError,
)
from airflow_provider_deepchecks.records.checks.checker import CheckOptions
from airflow_provider_deepchecks.records.columns import Columns
from airflow_provider_deepchecks.records.intake import BadRowRules
from airflow_provider_deepchecks.records.sources.source import open_frame
from tests.delivery.conftest import START

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COLUMNS = Columns(sample_id="id", timestamp="t", prediction="p")


def table(count: int, *, first: int = 0, prefix: str = "s", **more: Any) -> pa.Table:
    numbers = range(first, first + count)
    return pa.table(
        {
            "id": [f"{prefix}{number}" for number in numbers],
            "t": pa.array([START + timedelta(seconds=number) for number in numbers]),
            "p": [float(number) for number in numbers],
            "f": [number / 7 for number in numbers],
            **more,
        }
    )


def batch(rows: Any, columns: Columns = COLUMNS, per_send: int = 10, **more: Any) -> Batch:
    return Batch(open_frame(rows), columns, per_send, **more)


def test_rows_go_out_in_time_order(client, version, deepchecks_server):
    mixed = table(25).take([number * 7 % 25 for number in range(25)])
    receipt = sample_job(client, "m", "v1", batch(mixed)).run()
    assert (receipt.read, receipt.sent, receipt.waiting) == (25, 25, 25)
    assert (receipt.window_start, receipt.window_end) == (START, START + timedelta(seconds=24))
    assert list(deepchecks_server.stored("m", "v1")) == [f"s{number}" for number in range(25)]
    sizes = [item for item in deepchecks_server.exchanges if item.path.endswith("/data")]
    assert len(sizes) == 3


def test_account_with_bad_rows(client, version, deepchecks_server, tmp_path):
    """Rows that the checks keep out are in the file and in the account."""
    rows = table(20).to_pylist()
    rows[3]["p"] = None
    path = tmp_path / "bad.parquet"
    rules = BadRowRules(on_invalid="quarantine", quarantine_path=str(path))
    receipt = sample_job(client, "m", "v1", batch(pa.Table.from_pylist(rows), bad_rows=rules)).run()
    assert (receipt.read, receipt.quarantined, receipt.sent) == (20, 1, 19)
    assert receipt.quarantine_path == str(path)
    assert pq.read_table(path).num_rows == 1
    assert len(receipt.examples) == 1
    assert receipt.examples[0].sample_id == "s3"


def test_rows_that_the_server_cannot_take_count_for_the_limit(
    client, version, deepchecks_server, monkeypatch, tmp_path
):
    """A row that the checks keep out, and one that is too large for a proxy."""
    send = client.send_samples

    def proxied(version_id: int, body: bytes, rows: int) -> Any:
        if b'"s2"' in body:
            raise DeepchecksPayloadTooLargeError("too large")
        return send(version_id, body, rows)

    monkeypatch.setattr(client, "send_samples", proxied)
    rows = table(5).to_pylist()
    rows[3]["p"] = None
    path = tmp_path / "bad.parquet"
    for limit, passes in ((1, False), (0.2, False), (2, True), (None, True)):
        rules = BadRowRules("quarantine", "send", max_invalid=limit, quarantine_path=str(path))
        job = sample_job(client, "m", "v1", batch(pa.Table.from_pylist(rows), bad_rows=rules))
        if passes:
            assert (job.run().quarantined, limit) == (2, limit)
        else:
            with pytest.raises(DeepchecksInvalidRowsError, match=f"2 of 5 rows .*max_invalid_rows={limit} "):
                job.run()
        kept = [pq.read_table(file).num_rows for file in (path, tmp_path / "bad-rejected.parquet")]
        assert kept == [1, 1]
    assert deepchecks_server.stored("m", "v1").keys() == {"s0", "s1", "s4"}


def test_nothing_is_sent_when_the_first_part_is_bad(client, version, deepchecks_server):
    rows = table(5).to_pylist()
    rows[4]["p"] = None
    with pytest.raises(DeepchecksInvalidRowsError):
        sample_job(client, "m", "v1", batch(rows)).run()
    assert deepchecks_server.stored("m", "v1") == {}


def test_check_sends_nothing(client, version, deepchecks_server):
    report = sample_job(client, "m", "v1", batch(table(5))).check()
    assert (report.read, report.good) == (5, 5)
    assert deepchecks_server.stored("m", "v1") == {}


def test_late_rows(client, version, deepchecks_server):
    sample_job(client, "m", "v1", batch(table(1, first=100))).run()
    with pytest.raises(DeepchecksLateRowsError):
        sample_job(client, "m", "v1", batch(table(5))).run()
    sent = sample_job(client, "m", "v1", batch(table(5), bad_rows=BadRowRules(on_late="send"))).run()
    assert sent.sent == 5
    # They are stored now, so they are late no more.
    again = sample_job(client, "m", "v1", batch(table(5))).run()
    assert (again.sent, again.already_stored) == (0, 5)


def test_repeated_upload_with_holes(client, version, deepchecks_server):
    """A retry fills the holes that the attempt before has left, one at the start among them."""
    left = table(30).take([number for number in range(30) if number not in (0, 1, 12, 13, 14)])
    sample_job(client, "m", "v1", batch(left)).run()
    receipt = sample_job(client, "m", "v1", batch(table(30), repeated=True)).run()
    assert (receipt.read, receipt.sent, receipt.already_stored) == (30, 5, 25)
    assert len(deepchecks_server.stored("m", "v1")) == 30


def test_no_time_column(client, version, deepchecks_server, caplog):
    columns = Columns(sample_id="id", prediction="p")
    receipt = sample_job(client, "m", "v1", batch(table(5).drop_columns("t"), columns)).run()
    assert receipt.sent == 5
    assert "The rows come without times" in caplog.text
    assert len(deepchecks_server.stored("m", "v1")) == 5


def test_labels_of_all_versions(client, version, deepchecks_server):
    deepchecks_server.create_model("m", "regression", version="v2", features={"f": "numeric"})
    sample_job(client, "m", "v1", batch(table(5))).run()
    columns = Columns(sample_id="id", label="y")
    rows = {"id": ["s0", "s1"], "y": [1.0, 2.0]}
    receipt = label_job(client, "m", None, batch(rows, columns)).run()
    assert (receipt.kind, receipt.version, len(receipt.version_ids)) == ("labels", None, 2)
    one = label_job(client, "m", "v1", batch(rows, columns)).run()
    assert one.version_ids == (version.id,)
    assert deepchecks_server.labels("m") == {"s0": 1.0, "s1": 2.0}


def test_labels_of_classes(client, deepchecks_server):
    """Only a class that all versions know alike can be checked."""
    deepchecks_server.create_model("c", "binary", features={}, classes=["n", "y"])
    columns = Columns(sample_id="id", label="y")
    with pytest.raises(DeepchecksInvalidRowsError, match="maybe"):
        label_job(client, "c", None, batch({"id": ["a"], "y": ["maybe"]}, columns)).run()
    with pytest.raises(DeepchecksInvalidRowsError):
        label_job(client, "c", None, batch({"id": ["a"], "y": pa.array([None], pa.string())}, columns)).run()
    null = batch({"id": ["a"], "y": pa.array([None], pa.string())}, columns)
    assert label_job(client, "c", None, null, allow_null=True).run().sent == 1
    assert deepchecks_server.labels("c") == {"a": None}


def test_unknown_names(client, version):
    with pytest.raises(DeepchecksNotFoundError, match="'m'"):
        sample_job(client, "mm", "v1", batch(table(1)))
    with pytest.raises(DeepchecksNotFoundError, match="'v1'"):
        label_job(client, "m", "v2", batch(table(1)))


def test_limit_is_looked_at_first(client, version):
    with pytest.raises(DeepchecksConfigError, match=r"max_invalid_rows=2\.0"):
        sample_job(client, "m", "v1", batch(table(1), bad_rows=BadRowRules(max_invalid=2.0)))


def test_cancelled(client, version, deepchecks_server):
    one = batch(table(50))
    one.cancelled.set()
    with pytest.raises(UploadCancelledError):
        sample_job(client, "m", "v1", one).run()
    with pytest.raises(UploadCancelledError):
        sample_job(client, "m", "v1", one).check()
    assert deepchecks_server.stored("m", "v1") == {}


def test_cancelled_while_rows_are_only_checked(client, version):
    """After a bad row the others are read for the error alone, which can take as long as sending them."""
    cancelled, given = threading.Event(), []

    def tables() -> Iterator[pa.Table]:
        for number in range(10):
            if number == 3:
                cancelled.set()
            given.append(number)
            yield table(1, first=number).set_column(2, "p", pa.nulls(1, pa.float64()))

    one = Batch(WatchedSource(tables()), COLUMNS, 10, cancelled=cancelled)
    with pytest.raises(UploadCancelledError):
        sample_job(client, "m", "v1", one).run()
    assert given == [0, 1, 2, 3]


@dataclass
class WatchedSource:
    """Rows that come one batch at a time, and the threads in which they are opened and closed."""

    tables: Iterable[pa.Table]
    threads: list[int] = field(default_factory=list)
    description = "watched rows"
    rereadable = ordered = untyped = False

    def batches(self) -> Iterator[pa.RecordBatch]:
        self.threads.append(threading.get_ident())
        try:
            for rows in self.tables:
                yield from rows.to_batches()
        finally:
            self.threads.append(threading.get_ident())

    def in_order(self, time: str, sample_id: str, *, naive_is_utc: bool) -> bool:
        return False

    def fingerprint(self) -> str:
        return "watched"


def test_a_source_is_closed_where_it_was_opened(client, version, deepchecks_server):
    """SQLite's connections may be used nowhere else; and what a failed upload read from is closed when it
    ends, not when its error is forgotten.
    """
    source = WatchedSource([table(10, first=10 * number) for number in range(20)])
    job = sample_job(client, "m", "v1", Batch(source, COLUMNS, 10))
    deepchecks_server.answer_next(401, path="/data")
    with pytest.raises(DeepchecksAuthError):
        job.run()
    opened, closed = source.threads
    assert opened == closed != threading.get_ident()


class TaskTimeout(BaseException):
    """What Airflow raises in the main thread, wherever that is."""


def test_reading_ends_soon_when_the_task_does(client, version, deepchecks_server):
    """Rows that have to be sorted are all read before one is sent: a time-out does not wait for that."""

    def time_out(*_: object) -> None:
        raise TaskTimeout

    given = []

    def tables() -> Iterator[pa.Table]:
        for number in range(1_000):
            if number == 3:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
            if number > 3:
                time.sleep(0.02)
            given.append(number)
            yield table(1, first=number)

    before = signal.signal(signal.SIGALRM, time_out)
    try:
        with pytest.raises(TaskTimeout):
            sample_job(client, "m", "v1", Batch(WatchedSource(tables()), COLUMNS, 10)).run()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(given) < 500
    assert deepchecks_server.stored("m", "v1") == {}


def test_ids_are_kept(client, version, tmp_path):
    path = tmp_path / "ids.parquet"
    receipt = sample_job(client, "m", "v1", batch(table(5), ids_path=str(path))).run()
    assert receipt.ids_path == str(path)
    assert pq.read_table(path).column("sample_id").to_pylist() == [f"s{number}" for number in range(5)]


def test_fingerprint_tells_readings_apart(tmp_path):
    first = batch(table(5)).fingerprint()
    assert first == batch(table(5)).fingerprint()
    others = [
        batch(table(6)),
        batch(table(5), checks=CheckOptions(timezone="Europe/Berlin")),
        batch(table(5), Columns(sample_id="id", timestamp="t", prediction="f")),
        batch(table(5), bad_rows=BadRowRules(on_late="send")),
    ]
    assert len({first, *(other.fingerprint() for other in others)}) == 5
    # How many rows a request carries, and where progress is kept, changes nothing.
    kept = FileCheckpoint(tmp_path / "kept.json")
    assert batch(table(5), per_send=3, checkpoint=kept).fingerprint() == first
