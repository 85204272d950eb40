# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Whole uploads: the counts of before, resuming, and what a changed source does."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from airflow_provider_deepchecks.delivery.ids import SentIds
from airflow_provider_deepchecks.delivery.proof.observe import look
from airflow_provider_deepchecks.delivery.proof.settlement import SettlementRules, State
from airflow_provider_deepchecks.delivery.upload.checkpoint import Progress, StoreCheckpoint
from airflow_provider_deepchecks.delivery.upload.clock import SystemClock, UploadCancelledError
from airflow_provider_deepchecks.delivery.upload.targets import sample_target
from airflow_provider_deepchecks.delivery.upload.uploader import Uploader, UploadOptions
from airflow_provider_deepchecks.exceptions import (
    DeepchecksInvalidRowsError,
    DeepchecksNotFoundError,
    DeepchecksServerError,
)
from airflow_provider_deepchecks.records.chunks.chunker import Chunk, ChunkSizer
from tests.delivery.conftest import (
    START,
    FastClock,
    connect,
    label_rows,
    label_target,
    rows,
    stream,
    uploader,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.local_server.server import CreatedVersion, LocalServer

RULES = SettlementRules(lost_after=60)


class Store(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        del self[key]


def sent(server: LocalServer, what: str = "/data") -> int:
    """Sending requests so far."""
    return sum(exchange.path.endswith(what) for exchange in server.exchanges)


def test_rows_go_out_in_time_order_and_settle(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    receipt = uploader(client, clock).run(stream(rows(250)))
    assert (receipt.read, receipt.sent, receipt.waiting) == (250, 250, 250)
    assert (receipt.window_start, receipt.samples_before) == (START, 0)
    assert receipt.window_end == START + timedelta(seconds=249)
    assert receipt.server == deepchecks_server.url
    assert list(deepchecks_server.stored("m", "v1")) == [f"s{n}" for n in range(250)]
    settled = look(client, receipt, RULES)
    assert settled.state is State.SETTLED
    assert (settled.receipt.stored, settled.receipt.waiting) == (250, 0)


def test_no_rows_make_an_empty_receipt(
    version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    receipt = uploader(client, clock).run(stream())
    assert (receipt.read, receipt.window_start) == (0, None)
    assert look(client, receipt, RULES).state is State.SETTLED


def test_rows_stored_before_are_found_and_not_sent(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    uploader(client, clock).run(stream(rows(120)))
    receipt = uploader(client, clock).run(stream(rows(250)))
    assert (receipt.sent, receipt.already_stored) == (130, 120)
    assert deepchecks_server.errors("m") == []
    settled = look(client, receipt, RULES)
    assert settled.state is State.SETTLED
    assert (settled.receipt.stored, settled.receipt.already_stored) == (130, 120)


def test_rows_of_others_in_the_window_are_counted_once_before(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    """Also where chunks meet in the middle of rows with one time."""
    others = rows(60, prefix="other", step=timedelta(0), start=START + timedelta(seconds=5))
    uploader(client, clock).run(stream(others))
    mine = pa.Table.from_batches(
        [rows(5), rows(40, first=5, step=timedelta(0), start=START + timedelta(seconds=5)), rows(9, first=45)]
    )
    receipt = uploader(client, clock).run(stream(*mine.to_batches(), size=7))
    assert receipt.samples_before == 60
    assert receipt.sent == 54
    settled = look(client, receipt, RULES)
    assert (settled.state, settled.receipt.stored) == (State.SETTLED, 54)


def test_rows_that_come_in_while_the_source_is_read_are_counted_before(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    def slowly() -> Iterator[Chunk]:
        uploader(client, clock).run(stream(rows(7, prefix="other")))
        yield from stream(rows(20))()

    receipt = uploader(client, clock).run(slowly)
    assert receipt.samples_before == 7
    assert look(client, receipt, replace(RULES, verify="counts")).state is State.SETTLED


def test_rows_newer_than_the_watermark_cost_no_counting(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    uploader(client, clock).run(stream(rows(10)))
    counted = sent(deepchecks_server, "/time-window-statistics")
    uploader(client, clock).run(stream(rows(100, first=10), size=10))
    assert sent(deepchecks_server, "/time-window-statistics") == counted


def test_labels_go_with_the_samples(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    labels = [None if n % 5 == 0 else float(n) for n in range(50)]
    up = uploader(client, clock, options={"with_labels": True})
    receipt = up.run(stream(rows(50, labels=labels), size=20))
    assert receipt.labels is not None
    assert (receipt.labels.sent, receipt.labels.waiting) == (40, 40)
    assert deepchecks_server.labels("m") == {f"s{n}": float(n) for n in range(50) if n % 5}
    assert look(client, receipt, RULES).state is State.SETTLED


# -- going on --


def test_a_retry_goes_on_at_the_first_row_not_acknowledged(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    store = Store()
    deepchecks_server.answer_next(400, path="/nothing")
    first = uploader(client, clock, checkpoint=StoreCheckpoint(store), options={"send_timeout": 5})
    chunks = stream(rows(100), size=20)

    def broken() -> Iterator[Chunk]:
        for number, chunk in enumerate(chunks()):
            if number == 3:
                deepchecks_server.answer_next(503, path="/data", times=50)
            yield chunk

    with pytest.raises(DeepchecksServerError):
        first.run(broken)
    assert Progress.from_dict(store["deepchecks_upload"]["progress"]).acknowledged == 60
    deepchecks_server._on_loop(deepchecks_server._state.faults.answers.clear)
    before = sent(deepchecks_server)
    with SentIds() as ids:
        again = uploader(client, clock, checkpoint=StoreCheckpoint(store), ids=ids)
        receipt = again.run(chunks)
        assert ids.rows == 100
    assert sent(deepchecks_server) - before == 2
    assert (receipt.sent, receipt.samples_before, receipt.window_start) == (100, 0, START)
    assert deepchecks_server.errors("m") == []
    assert look(client, receipt, RULES).state is State.SETTLED


def test_a_finished_upload_sends_nothing_again(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    store = Store()
    first = uploader(client, clock, checkpoint=StoreCheckpoint(store)).run(stream(rows(50)))
    before = sent(deepchecks_server)
    deepchecks_server.clock.advance(600)
    again = uploader(client, clock, checkpoint=StoreCheckpoint(store)).run(stream(rows(50)))
    assert sent(deepchecks_server) == before
    assert (again.sent, again.samples_before, again.window_end) == (50, 0, first.window_end)
    assert again.finished_at == first.finished_at, "the server has had its time for these rows since then"
    assert look(client, again, RULES).state is State.SETTLED
    more = uploader(client, clock, checkpoint=StoreCheckpoint(store)).run(stream(rows(60)))
    assert (more.sent, more.finished_at > first.finished_at) == (60, True)


def test_a_changed_source_starts_afresh_and_says_so(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    client: DeepchecksClient,
    clock: FastClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    uploader(client, clock, checkpoint=StoreCheckpoint(store)).run(stream(rows(50)))
    changed = pa.Table.from_batches([rows(1, prefix="new", start=START - timedelta(seconds=1)), rows(50)])
    receipt = uploader(client, clock, checkpoint=StoreCheckpoint(store)).run(stream(*changed.to_batches()))
    assert "no longer begins with the 50 rows sent before" in caplog.text
    assert (receipt.sent, receipt.already_stored) == (1, 50)
    assert look(client, receipt, RULES).state is State.SETTLED


@pytest.mark.parametrize("change", ["fingerprint", "not rereadable", "shorter"])
def test_nothing_is_resumed_that_is_not_the_same(
    change: str,
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    client: DeepchecksClient,
    clock: FastClock,
) -> None:
    store = Store()
    uploader(client, clock, checkpoint=StoreCheckpoint(store)).run(stream(rows(50)))
    other = {"fingerprint": "other"} if change == "fingerprint" else {}
    again = uploader(client, clock, checkpoint=StoreCheckpoint(store), options=other)
    count = 49 if change == "shorter" else 50
    receipt = again.run(stream(rows(count)), rereadable=change != "not rereadable")
    assert (receipt.sent, receipt.already_stored) == (0, count)


def test_rows_in_flight_that_have_changed_start_afresh(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    client: DeepchecksClient,
    clock: FastClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The attempt before died between two writes, and the table has grown since."""
    store = Store()
    kept: list[Any] = []
    chunks = stream(rows(30), size=10)

    def dying() -> Iterator[Chunk]:
        for number, chunk in enumerate(chunks()):
            yield chunk
            kept.append(store["deepchecks_upload"])
            if number == 1:
                return

    checkpoint = StoreCheckpoint(store)
    intents: list[Any] = []
    save = store.set
    store.set = lambda key, value: (intents.append(value), save(key, value))[1]  # type: ignore[method-assign]
    uploader(client, clock, checkpoint=checkpoint).run(dying)
    # As if the second chunk's acknowledgement had not been written.
    intent = next(
        item for item in intents if item["progress"]["in_flight"] and item["progress"]["acknowledged"] == 10
    )
    for count, source in enumerate(
        (
            rows(30),
            pa.Table.from_batches(
                [rows(12), rows(1, prefix="new", start=START + timedelta(seconds=11.5)), rows(18, first=12)]
            )
            .combine_chunks()
            .to_batches()[0],
        )
    ):
        store["deepchecks_upload"] = intent
        caplog.clear()
        receipt = uploader(client, clock, checkpoint=StoreCheckpoint(store)).run(stream(source, size=10))
        assert ("starting at the first row" in caplog.text) is bool(count)
        assert receipt.read == 30 + count
        assert look(client, receipt, RULES).state is State.SETTLED
    assert len(deepchecks_server.stored("m", "v1")) == 31


def test_the_stream_is_closed_however_the_upload_ends(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    closed: list[str] = []

    def watched(name: str) -> Callable[[], Iterator[Chunk]]:
        def opened() -> Iterator[Chunk]:
            try:
                yield from stream(rows(50, prefix=name), size=10)()
            finally:
                closed.append(name)

        return opened

    uploader(client, clock).run(watched("good"))
    deepchecks_server.answer_next(401, b'{"error_message": "no"}', path="/data")
    with pytest.raises(Exception, match="401"):
        uploader(client, clock).run(watched("bad"))
    assert closed == ["good", "bad"]


# -- rows that the server cannot take --


@pytest.fixture
def noted(deepchecks_server: LocalServer) -> CreatedVersion:
    return deepchecks_server.create_model(
        "m", "regression", features={"f": "numeric"}, additional_data={"note": "text"}
    )


def bad(batch: pa.RecordBatch, *places: int) -> pa.RecordBatch:
    notes = ["a\0b" if n in places else "fine" for n in range(batch.num_rows)]
    return batch.append_column("note", pa.array(notes, pa.string()))


def test_rows_that_the_server_cannot_take_are_refused_by_name(
    noted: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    store = Store()
    receipt = uploader(client, clock, checkpoint=StoreCheckpoint(store)).run(
        stream(bad(rows(30), 3, 7), size=10)
    )
    assert (receipt.read, receipt.sent, receipt.refused) == (30, 28, 2)
    assert [row.sample_id for row in receipt.examples] == ["s3", "s7"]
    refused = look(client, receipt, RULES)
    assert refused.state is State.REFUSED
    assert "s3: HTTP 500" in refused.message
    # A retry that goes on names them again, without sending them.
    again = uploader(client, clock, checkpoint=StoreCheckpoint(store)).run(
        stream(bad(rows(30), 3, 7), size=10)
    )
    assert [row.sample_id for row in again.examples] == ["s3", "s7"]
    assert again.refused == 2


def test_rows_that_the_server_cannot_take_can_be_quarantined(
    noted: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    kept: list[tuple[int, str]] = []
    up = uploader(
        client,
        clock,
        on_rejected=lambda row, reason: kept.append((row.column("__position")[0].as_py(), reason[:8])),
        options={"with_labels": True},
    )
    receipt = up.run(stream(bad(rows(30, labels=[1.0] * 30), 3, 7), size=10))
    assert kept == [(3, "HTTP 500"), (7, "HTTP 500")]
    assert (receipt.refused, receipt.quarantined) == (0, 2)
    assert receipt.labels is not None
    assert receipt.labels.sent == 28
    assert look(client, receipt, RULES).state is State.SETTLED


def test_too_many_such_rows_end_the_upload(
    noted: CreatedVersion, client: DeepchecksClient, clock: FastClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_deepchecks.delivery.upload.ledger.MAX_REJECTED", 3)
    with pytest.raises(DeepchecksInvalidRowsError, match="more than 3 rows"):
        uploader(client, clock).run(stream(bad(rows(40), *range(10, 20)), size=10))


def test_labels_that_the_server_cannot_take_are_refused_by_name(
    deepchecks_server: LocalServer, client: DeepchecksClient, clock: FastClock
) -> None:
    deepchecks_server.create_model("m", "multiclass", features={"f": "numeric"})
    batch = rows(9)
    classes = pa.array(["a"] * 9)
    labels = pa.array(["a\0b" if n == 4 else "a" for n in range(9)])
    batch = batch.set_column(2, "_dc_prediction", classes).append_column("_dc_label", labels)
    store = Store()
    for _ in range(2):  # the second one goes on where the first one came to its end
        with SentIds() as ids:
            more = {"checkpoint": StoreCheckpoint(store), "options": {"with_labels": True}, "ids": ids}
            receipt = uploader(client, clock, **more).run(stream(batch))
            assert receipt.labels is not None
            assert (receipt.sent, receipt.labels.sent, receipt.labels.refused) == (9, 8, 1)
            refused = look(client, receipt, RULES, ids)
            assert refused.state is State.REFUSED
            assert "First ones: s4: HTTP 500" in refused.message
            # Its id does not look for a label that never went out.
            assert look(client, receipt, replace(RULES, max_refused=1), ids).state is State.SETTLED


def test_too_many_such_labels_end_the_upload(
    deepchecks_server: LocalServer,
    client: DeepchecksClient,
    clock: FastClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("airflow_provider_deepchecks.delivery.upload.ledger.MAX_REJECTED", 2)
    deepchecks_server.create_model("m", "multiclass", features={"f": "numeric"})
    batch = rows(9).set_column(2, "_dc_prediction", pa.array(["a"] * 9))
    labels = pa.array(["a\0b" if n > 4 else "a" for n in range(9)])
    with pytest.raises(DeepchecksInvalidRowsError, match="more than 2 labels"):
        uploader(client, clock, options={"with_labels": True}).run(
            stream(batch.append_column("_dc_label", labels))
        )


# -- labels, names, limits --


def test_labels_of_unknown_names(version: CreatedVersion, client: DeepchecksClient) -> None:
    with pytest.raises(DeepchecksNotFoundError):
        label_target(client, "nobody")
    with pytest.raises(DeepchecksNotFoundError):
        sample_target(client, "m", "v9")
    assert sample_target(client, "m", "v1").watermark is None
    assert label_target(client, "m").version_ids == ()


def test_labels_resume_too(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    uploader(client, clock).run(stream(rows(30)))
    store = Store()
    up = uploader(
        client, clock, label_target(client, "m"), checkpoint=StoreCheckpoint(store), sizer=ChunkSizer(7)
    )
    up.run(stream(label_rows(20), size=10, kind="labels"))
    assert sent(deepchecks_server, "/labels") == 4
    again = uploader(client, clock, label_target(client, "m"), checkpoint=StoreCheckpoint(store))
    receipt = again.run(stream(label_rows(20), size=10, kind="labels"))
    assert sent(deepchecks_server, "/labels") == 4
    assert (receipt.sent, receipt.labeled_before) == (20, 0)
    assert look(client, receipt, RULES).state is State.SETTLED


def test_labels_of_a_version_made_meanwhile_make_up_for_no_lost_ones(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    uploader(client, clock).run(stream(rows(30)))
    store = Store()
    up = uploader(client, clock, label_target(client, "m"), checkpoint=StoreCheckpoint(store))
    up.run(stream(label_rows(20), kind="labels"))
    deepchecks_server.create_model("m", "regression", version="v2", features={"f": "numeric"})
    uploader(client, clock, sample_target(client, "m", "v2")).run(stream(rows(20)))
    again = uploader(client, clock, label_target(client, "m"), checkpoint=StoreCheckpoint(store))
    receipt = again.run(stream(label_rows(20), kind="labels"))
    assert receipt.labeled_before_each == (20, 20), "counted anew in both"


def test_tasks_that_share_the_limit_all_finish(deepchecks_server: LocalServer) -> None:
    """Four uploads at once, each with its own clock of one shared time."""
    deepchecks_server.rows_per_minute = 100
    lock = threading.Lock()
    asleep: list[threading.Event] = []

    class Shared(FastClock):
        """Time moves when all that are still at work wait for the next minute."""

        def sleep(self, seconds: float) -> None:
            self.waited.append(seconds)
            event = threading.Event()
            with lock:
                asleep.append(event)
                if len(asleep) >= len(at_work):
                    deepchecks_server.clock.advance(seconds)
                    wake()
            event.wait(20)

    def wake() -> None:
        order = random.sample(asleep, len(asleep))
        asleep.clear()
        for event in order:
            event.set()

    at_work = {f"m{n}" for n in range(4)}
    receipts: dict[str, Any] = {}

    def work(model: str) -> None:
        try:
            with connect(deepchecks_server.url, deepchecks_server.token) as client:
                target = sample_target(client, model, "v1")
                up = Uploader(client, target, UploadOptions(), clock=Shared(deepchecks_server))
                receipts[model] = up.run(stream(rows(150), size=60))
        finally:
            with lock:
                at_work.discard(model)
                if asleep and len(asleep) >= len(at_work):
                    deepchecks_server.clock.advance(62)
                    wake()

    for model in at_work:
        deepchecks_server.create_model(model, "regression", features={"f": "numeric"})
    threads = [threading.Thread(target=work, args=(model,)) for model in sorted(at_work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(receipts) == ["m0", "m1", "m2", "m3"]
    for model, receipt in receipts.items():
        assert receipt.sent == 150
        assert len(deepchecks_server.stored(model, "v1")) == 150
        assert deepchecks_server.errors(model) == []


def test_progress_is_logged(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    client: DeepchecksClient,
    clock: FastClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")

    def slow() -> Iterator[Chunk]:
        for chunk in stream(rows(100), size=20)():
            deepchecks_server.clock.advance(10)
            yield chunk

    uploader(client, clock, options={"total_rows": lambda: 100}).run(slow)
    assert "40 rows sent (40%), 2/s" in caplog.text


def test_the_real_clock_waits_and_can_be_cancelled() -> None:
    cancelled = threading.Event()
    clock = SystemClock(cancelled=cancelled)
    before = clock.monotonic()
    clock.sleep(0.02)
    assert clock.monotonic() - before >= 0.02
    assert abs(clock.server_now() - datetime.now(UTC)) < timedelta(seconds=5)
    cancelled.set()
    with pytest.raises(UploadCancelledError):
        clock.check()
    with pytest.raises(UploadCancelledError):
        clock.sleep(10)
    assert SystemClock(lambda: START).server_now() == START
