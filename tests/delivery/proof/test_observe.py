# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Looking at a server that works behind its answers, loses rows and gets stuck."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from airflow_provider_deepchecks.client import transport
from airflow_provider_deepchecks.delivery.ids import SentIds
from airflow_provider_deepchecks.delivery.proof import observe as module
from airflow_provider_deepchecks.delivery.proof.observe import (
    compare,
    look,
    observe,
    same_label,
    stored_pieces,
)
from airflow_provider_deepchecks.delivery.proof.refusals import refused_rows
from airflow_provider_deepchecks.delivery.proof.settlement import SettlementRules, State, settle
from airflow_provider_deepchecks.delivery.upload import targets
from airflow_provider_deepchecks.delivery.upload.targets import sample_target
from airflow_provider_deepchecks.delivery.window import window_of
from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
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
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.delivery.receipt import Receipt
    from airflow_provider_deepchecks.local_server.server import CreatedVersion, LocalServer

#: Counts alone, and the ids where they are at hand.
RULES = SettlementRules(lost_after=60, stall_after=120, verify="counts")
AUTO = replace(RULES, verify="auto")


@pytest.fixture
def queue(deepchecks_consumer_server: LocalServer) -> LocalServer:
    deepchecks_consumer_server.create_model("m", "regression", features={"f": "numeric"})
    return deepchecks_consumer_server


@pytest.fixture
def queue_client(queue: LocalServer) -> Iterator[DeepchecksClient]:
    with connect(queue.url, queue.token) as client:
        yield client


def upload(server: LocalServer, client: DeepchecksClient, count: int, **more: Any) -> Receipt:
    return uploader(client, FastClock(server), **more).run(stream(rows(count), size=500))


def wait(server: LocalServer, client: DeepchecksClient, seconds: float) -> None:
    """Let the server's clock go on, and have the client notice it."""
    server.clock.advance(seconds)
    client.backend_version()


def test_queued_rows_are_waited_for_and_settle(queue: LocalServer, queue_client: DeepchecksClient) -> None:
    queue.pause_consumer()
    receipt = upload(queue, queue_client, 1200)
    first = look(queue_client, receipt, RULES)
    assert first.state is State.WAITING
    assert observe(queue_client, receipt).pending_rows == 0, "nothing pending, and nothing is in"
    queue.resume_consumer()
    queue.wait_until_idle()
    assert look(queue_client, receipt, RULES).state is State.SETTLED


def test_a_lost_poll_is_found_and_a_retry_mends_it(
    queue: LocalServer, queue_client: DeepchecksClient
) -> None:
    queue.pause_consumer()
    receipt = upload(queue, queue_client, 1200)
    queue.lose_next_poll()
    queue.resume_consumer()
    queue.wait_until_idle()
    assert look(queue_client, receipt, RULES).state is State.WAITING
    wait(queue, queue_client, 61)
    lost = look(queue_client, receipt, RULES)
    assert lost.state is State.LOST
    missing = lost.receipt.waiting
    assert 0 < missing <= 500
    assert f"{missing} of 1,200 rows" in lost.message

    again = upload(queue, queue_client, 1200, options={"repeated": True})
    queue.wait_until_idle()
    assert (again.already_stored, again.sent) == (1200 - missing, missing)
    assert look(queue_client, again, RULES).state is State.SETTLED
    assert len(queue.stored("m", "v1")) == 1200


def test_a_lost_poll_is_found_though_others_keep_the_consumer_at_work(
    queue: LocalServer, queue_client: DeepchecksClient
) -> None:
    queue.lose_next_poll()
    receipt = upload(queue, queue_client, 30)
    queue.wait_until_idle()
    for n in range(3):
        wait(queue, queue_client, 30)
        uploader(queue_client, FastClock(queue)).run(stream(rows(2, first=100 + 2 * n)))
        queue.wait_until_idle()
    lost = look(queue_client, receipt, RULES)
    assert (lost.state, lost.receipt.waiting) == (State.LOST, 30)


def test_rows_that_an_attempt_before_stored_with_another_time_settle_at_once(
    version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    """As rows without a time of their own get one in each attempt."""
    uploader(client, clock).run(stream(rows(4)))
    with SentIds() as ids:
        again = uploader(client, clock, ids=ids, options={"repeated": True})
        receipt = again.run(stream(rows(10, start=START + timedelta(hours=1))))
        settled = look(client, receipt, AUTO, ids)
    assert settled.state is State.SETTLED
    assert (settled.receipt.stored, settled.receipt.already_stored) == (6, 4)


def test_the_ids_name_the_lost_rows(queue: LocalServer, queue_client: DeepchecksClient) -> None:
    with SentIds() as ids:
        queue.lose_next_poll()
        receipt = upload(queue, queue_client, 30, ids=ids)
        queue.wait_until_idle()
        wait(queue, queue_client, 61)
        lost = look(queue_client, receipt, RULES, ids)
    assert lost.state is State.LOST
    assert lost.missing[:2] == ("s0", "s1")


def test_the_proof_counts_every_row(
    version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    with SentIds() as ids:
        receipt = uploader(client, clock, ids=ids).run(stream(rows(30)))
        proof = compare(client, receipt, observe(client, receipt, ids), ids).proof
    assert proof is not None
    assert (proof.stored, proof.refused, proof.elsewhere, proof.missing_count) == (30, 0, 0, 0)


def test_rows_of_another_run_hide_no_lost_row(
    queue: LocalServer, queue_client: DeepchecksClient, tmp_path: Path
) -> None:
    path = str(tmp_path / "ids.parquet")
    with SentIds() as ids:
        queue.lose_next_poll()
        receipt = replace(upload(queue, queue_client, 30, ids=ids), ids_path=path, ids_name=ids.name)
        ids.save(path)
    queue.wait_until_idle()
    other = rows(40, prefix="other", step=timedelta(milliseconds=500))
    uploader(queue_client, FastClock(queue)).run(stream(other))
    queue.wait_until_idle()
    counted = look(queue_client, replace(receipt, ids_path=None), RULES)
    assert (counted.state, counted.needs_ids) == (State.WAITING, True)
    wait(queue, queue_client, 61)
    assert "other runs" in look(queue_client, replace(receipt, ids_path=None), RULES).message
    lost = look(queue_client, receipt, RULES)
    assert lost.state is State.LOST
    assert lost.receipt.waiting == 30
    upload(queue, queue_client, 30)
    queue.wait_until_idle()
    assert look(queue_client, receipt, RULES).state is State.SETTLED


def test_pending_rows_that_stand_still_are_stalled(
    queue: LocalServer, queue_client: DeepchecksClient
) -> None:
    """The last poll fails: its rows are gone, and pending stays above 0 until more rows come."""
    queue.create_model("noted", "regression", features={"f": "numeric"}, additional_data={"note": "text"})
    queue.pause_consumer()
    notes = pa.array(["a\0b" if n == 600 else "fine" for n in range(700)])
    target = sample_target(queue_client, "noted", "v1")
    receipt = uploader(queue_client, FastClock(queue), target).run(
        stream(rows(700).append_column("note", notes), size=700)
    )
    queue.resume_consumer()
    queue.wait_until_idle()
    assert look(queue_client, receipt, RULES).state is State.WAITING
    wait(queue, queue_client, 121)
    stalled = look(queue_client, receipt, RULES)
    assert stalled.state is State.STALLED
    assert stalled.receipt.waiting == 200
    assert "200 rows are pending" in stalled.message


def test_refused_rows_are_listed_by_name(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    ahead = START.now(START.tzinfo) + timedelta(days=1)
    receipt = uploader(client, clock).run(stream(rows(4, start=ahead)))
    seen = observe(client, receipt)
    assert (seen.refused_count, seen.refused_for_time) == (4, 4)
    refused = look(client, receipt, RULES)
    assert refused.state is State.REFUSED
    assert refused.receipt.refused == 4
    assert "Got future timestamp" in refused.message
    assert [error.sample_id for error in refused_rows(client, receipt)] == ["s0", "s1", "s2", "s3"]
    assert look(client, receipt, SettlementRules(max_refused=4)).state is State.SETTLED


def test_errors_of_others_are_not_ours(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    ahead = START.now(START.tzinfo) + timedelta(days=1)
    uploader(client, clock).run(stream(rows(3, start=ahead, prefix="other")))
    other = deepchecks_server.create_model("m", "regression", version="v2", features={"f": "numeric"})
    assert other.id != version.id
    deepchecks_server.clock.advance(10)
    receipt = uploader(client, clock).run(stream(rows(5)))
    body = [{"_dc_sample_id": "x", "_dc_time": "2026-01-01T00:00:01+00:00", "_dc_prediction": "bad", "f": 1}]
    deepchecks_server.call("POST", f"/model-versions/{other.id}/data", body)
    deepchecks_server.call(
        "PUT", f"/model/{version.model_id}/labels", [{"_dc_sample_id": "x", "_dc_label": "bad"}]
    )
    assert observe(client, receipt).refused_count == 0
    late = [{**body[0], "_dc_time": "2026-01-05T00:00:00+00:00"}]
    deepchecks_server.call("POST", f"/model-versions/{version.id}/data", late)
    assert observe(client, receipt).refused_count == 0
    deepchecks_server.call("POST", f"/model-versions/{version.id}/data", body)
    assert observe(client, receipt).refused_count == 1
    with SentIds() as ids:
        ids.add(rows(5))
        assert observe(client, receipt, ids).refused_count == 0


def test_labels_settle_by_coverage(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    uploader(client, clock).run(stream(rows(20)))
    receipt = uploader(client, clock, label_target(client, "m")).run(stream(label_rows(10), kind="labels"))
    assert (receipt.kind, receipt.sent, receipt.labeled_before) == ("labels", 10, 0)
    settled = look(client, receipt, RULES)
    assert (settled.state, settled.receipt.stored) == (State.SETTLED, 10)


def test_labels_that_replace_others_settle_by_ids(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    uploader(client, clock).run(stream(rows(20)))
    uploader(client, clock, label_target(client, "m")).run(stream(label_rows(10), kind="labels"))
    with SentIds() as ids:
        window = (START, START + timedelta(seconds=19))
        again = uploader(client, clock, label_target(client, "m", window), ids=ids)
        receipt = again.run(stream(label_rows(10, value=2.0), kind="labels"))
        assert receipt.labeled_before == 10
        assert look(client, receipt, RULES).state is State.WAITING
        settled = look(client, receipt, RULES, ids)
    assert (settled.state, settled.receipt.already_stored) == (State.SETTLED, 10)


def test_labels_without_a_sample_are_told(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    uploader(client, clock).run(stream(rows(5)))
    receipt = uploader(client, clock, label_target(client, "m")).run(
        stream(label_rows(5, first=3), kind="labels")
    )
    deepchecks_server.clock.advance(61)
    client.backend_version()
    lost = look(client, receipt, RULES)
    assert lost.state is State.LOST
    assert "3 of 5 labels do not show" in lost.message
    with SentIds() as ids:
        ids.add(label_rows(5, first=3))
        named = look(client, receipt, AUTO, ids)
    assert "3 of 5 labels are on no sample, or it has another one (first ids: s5, s6, s7)" in named.message


def test_a_missing_file_of_ids_is_said(
    version: CreatedVersion,
    client: DeepchecksClient,
    clock: FastClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receipt = uploader(client, clock).run(stream(rows(5)))
    kept = replace(receipt, ids_path=str(tmp_path / "gone.parquet"))
    with pytest.raises(DeepchecksSourceError, match=r"gone\.parquet"):
        look(client, kept, replace(RULES, verify="ids"))
    assert look(client, kept, RULES).state is State.SETTLED
    assert "gone.parquet" in caplog.text
    assert "Only counts are compared" in caplog.text


def test_the_ids_of_another_upload_prove_nothing(
    queue: LocalServer, queue_client: DeepchecksClient, tmp_path: Path
) -> None:
    """Two uploads with one and the same ids_path: the first one's rows are lost, the second one's are in."""
    path = str(tmp_path / "ids.parquet")
    receipts = []
    for prefix in ("first", "second"):
        with SentIds() as ids:
            if prefix == "first":
                queue.lose_next_poll()
            batch = rows(10, prefix=prefix)
            receipt = uploader(queue_client, FastClock(queue), ids=ids).run(stream(batch))
            ids.save(path)
            queue.wait_until_idle()
        receipts.append(replace(receipt, ids_path=path, ids_name=ids.name))
    first, second = receipts
    rules = replace(RULES, verify="ids")
    assert look(queue_client, second, rules).state is State.SETTLED
    with pytest.raises(DeepchecksSourceError, match="ids of another upload"):
        look(queue_client, first, rules)


def test_a_window_with_too_many_rows_is_not_compared(
    version: CreatedVersion, client: DeepchecksClient, clock: FastClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_COMPARED_IDS", 10)
    with SentIds() as ids:
        receipt = uploader(client, clock, ids=ids).run(stream(rows(11)))
        found = look(client, receipt, SettlementRules(verify="ids"), ids)
    assert (found.state, found.needs_ids) == (State.WAITING, True)


def test_reading_errors_has_an_end(
    version: CreatedVersion,
    client: DeepchecksClient,
    clock: FastClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "MAX_ERRORS", 3)
    receipt = uploader(client, clock).run(stream(rows(5, start=START.now(START.tzinfo) + timedelta(days=1))))
    assert observe(client, receipt).refused_count == 3
    assert "more than 3 errors" in caplog.text


def test_refused_rows_are_not_held_in_memory(
    deepchecks_server: LocalServer, client: DeepchecksClient, clock: FastClock
) -> None:
    """A thousand waits share a triggerer: what one look reads is let go of again, page by page."""
    deepchecks_server.create_model(
        "m", "regression", features={"f": "numeric"}, additional_data={"note": "text"}
    )
    refused = rows(3_000, start=START.now(START.tzinfo) + timedelta(days=1))
    refused = refused.append_column("note", pa.array(["x" * 10_000] * refused.num_rows))
    receipt = uploader(client, clock).run(stream(refused))
    tracemalloc.start()
    try:
        assert observe(client, receipt).refused_count == 3_000
        assert tracemalloc.get_traced_memory()[1] < 25_000_000
    finally:
        tracemalloc.stop()


def test_looks_are_quick(version: CreatedVersion, client: DeepchecksClient, clock: FastClock) -> None:
    receipt = uploader(client, clock).run(stream(rows(5)))
    started = time.monotonic()
    for _ in range(5):
        look(client, receipt, RULES)
    assert time.monotonic() - started < 10


def test_refused_labels_are_listed_by_name(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    uploader(client, clock).run(stream(rows(5)))
    labels = label_rows(3)
    wrong = labels.set_column(1, "_dc_label", pa.array(["x", "y", "z"]))
    receipt = uploader(client, clock, label_target(client, "m")).run(stream(wrong, kind="labels"))
    refused = look(client, receipt, RULES)
    assert refused.state is State.REFUSED
    assert (
        "the server refused 3 labels (allowed: 0). First ones: s0: Exception saving label" in refused.message
    )
    assert len(list(refused_rows(client, receipt))) == 3
    assert look(client, receipt, SettlementRules(max_refused=1.0)).state is State.SETTLED


def test_rows_sent_again_while_they_are_queued_are_not_refused(
    queue: LocalServer, queue_client: DeepchecksClient
) -> None:
    queue.pause_consumer()
    with SentIds() as ids:
        first = upload(queue, queue_client, 5, ids=ids)
        again = upload(queue, queue_client, 5, options={"repeated": True})
        queue.resume_consumer()
        queue.wait_until_idle()
        assert [entry.error for entry in queue.errors("m")] == [
            f"Got duplicate sample id: s{n}" for n in range(5)
        ]
        # By counts the first one could be of five rows that were listed for it, and five rows of others.
        assert look(queue_client, first, RULES).needs_ids
        for settled in (look(queue_client, first, RULES, ids), look(queue_client, again, RULES)):
            assert settled.state is State.SETTLED
            assert settled.receipt.refused == 0


def test_labels_sent_again_while_they_are_queued_are_not_refused(
    queue: LocalServer, queue_client: DeepchecksClient
) -> None:
    upload(queue, queue_client, 5)
    queue.wait_until_idle()
    queue.pause_consumer()
    target = label_target(queue_client, "m")
    receipts = [
        uploader(queue_client, FastClock(queue), target).run(stream(label_rows(5), kind="labels"))
        for _ in range(2)
    ]
    queue.resume_consumer()
    queue.wait_until_idle()
    assert [entry.error.split(". ", 1)[1] for entry in queue.errors("m")] == ["1.0 vs 1.0"] * 5
    for receipt in receipts:
        assert look(queue_client, receipt, RULES).state is State.SETTLED


def test_a_refused_label_of_another_run_is_not_ours(
    queue: LocalServer, queue_client: DeepchecksClient
) -> None:
    """Of two labels in one poll the first wins, and the other one is listed with the id of both."""
    upload(queue, queue_client, 5)
    queue.wait_until_idle()
    queue.pause_consumer()
    with SentIds() as ids, SentIds() as later_ids:
        first = send_labels(queue, queue_client, label_rows(5), ids)
        later = send_labels(queue, queue_client, label_rows(1, value=2.0), later_ids)
        queue.resume_consumer()
        queue.wait_until_idle()
        assert [entry.error.split(". ", 1)[1] for entry in queue.errors("m")] == ["2.0 vs 1.0"]
        settled = look(queue_client, first, AUTO, ids)
        assert (settled.state, settled.receipt.stored, settled.receipt.examples) == (State.SETTLED, 5, ())
        refused = look(queue_client, later, AUTO, later_ids)
        assert (refused.state, refused.receipt.refused) == (State.REFUSED, 1)
        assert "s0: Got duplicate label" in refused.message


def never_through(client: DeepchecksClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other runs send as fast as the consumer works."""
    statuses = client.version_statuses

    def at_work(model_id: int) -> Any:
        now = client.server_now()
        return [replace(status, pending_rows=9, last_update=now) for status in statuses(model_id)]

    monkeypatch.setattr(client, "version_statuses", at_work)


def test_rows_of_others_do_not_make_up_for_refused_ones_of_a_busy_server(
    queue: LocalServer, queue_client: DeepchecksClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = START.now(START.tzinfo)
    good, late = rows(8, start=now - timedelta(hours=1)), rows(2, first=8, start=now + timedelta(days=1))
    receipt = uploader(queue_client, FastClock(queue)).run(stream(good, late))
    uploader(queue_client, FastClock(queue)).run(
        stream(rows(2, prefix="other", start=now - timedelta(minutes=30)))
    )
    queue.wait_until_idle()
    never_through(queue_client, monkeypatch)
    asked = look(queue_client, receipt, RULES)
    assert (asked.state, asked.needs_ids, asked.receipt.refused) == (State.WAITING, True, 2)


def test_refused_rows_are_told_though_the_consumer_is_never_through(
    queue: LocalServer, queue_client: DeepchecksClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = rows(2, first=8, start=START.now(START.tzinfo) + timedelta(days=1))
    receipt = uploader(queue_client, FastClock(queue)).run(stream(rows(8), late))
    queue.wait_until_idle()
    never_through(queue_client, monkeypatch)
    assert look(queue_client, receipt, RULES).state is State.WAITING
    wait(queue, queue_client, 301)
    refused = look(queue_client, receipt, RULES)
    assert (refused.state, refused.receipt.refused) == (State.REFUSED, 2)


def test_labels_sent_again_with_their_samples_settle_by_ids(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    both = rows(12, labels=[1.0] * 12)
    uploader(client, clock, options={"with_labels": True}).run(stream(both))
    # A row without a label keeps the window from being labelled throughout.
    uploader(client, clock).run(stream(rows(1, prefix="bare", start=START + timedelta(milliseconds=1))))
    later = pa.Table.from_batches([both, rows(3, first=12, labels=[2.0] * 3)]).to_batches()
    with SentIds() as ids:
        receipt = uploader(client, clock, options={"with_labels": True}, ids=ids).run(stream(*later))
        assert (receipt.sent, receipt.already_stored) == (3, 12)
        assert receipt.labels is not None
        assert (receipt.labels.sent, receipt.labels.labeled_before) == (15, 12)
        settled = look(client, receipt, RULES, ids)
    assert settled.state is State.SETTLED
    assert settled.receipt.labels is not None
    assert (settled.receipt.labels.stored, settled.receipt.labels.already_stored) == (3, 12)


def test_labels_that_come_in_the_middle_of_a_look_are_new(
    queue: LocalServer, queue_client: DeepchecksClient
) -> None:
    queue.pause_consumer()
    with SentIds() as ids:
        both = stream(rows(12, labels=[1.0] * 12))
        receipt = uploader(queue_client, FastClock(queue), options={"with_labels": True}, ids=ids).run(both)
        seen = observe(queue_client, receipt, ids)
        assert (seen.samples_in_window, seen.labeled_in_window) == (0, 0)
        queue.resume_consumer()
        queue.wait_until_idle()
        compared = compare(queue_client, receipt, seen, ids)
    settled = settle(receipt, compared, AUTO)
    assert settled.state is State.SETTLED
    assert settled.receipt.labels is not None
    assert (settled.receipt.stored, settled.receipt.already_stored) == (12, 0)
    assert (settled.receipt.labels.stored, settled.receipt.labels.already_stored) == (12, 0)


def test_a_server_that_shows_no_labels_gives_no_proof_of_them(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    client: DeepchecksClient,
    clock: FastClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uploader(client, clock).run(stream(rows(20)))
    uploader(client, clock, label_target(client, "m")).run(stream(label_rows(10), kind="labels"))
    whole = client.stored_samples

    def bare(*arguments: Any) -> list[dict[str, Any]]:
        return [{"_dc_sample_id": row["_dc_sample_id"]} for row in whole(*arguments)]

    monkeypatch.setattr(client, "stored_samples", bare)
    with SentIds() as ids:
        again = uploader(client, clock, label_target(client, "m"), ids=ids)
        receipt = again.run(stream(label_rows(10), kind="labels"))
        assert look(client, receipt, RULES, ids).state is State.WAITING
        wait(deepchecks_server, client, 61)
        assert look(client, receipt, RULES, ids).state is State.LOST


# -- labels that the server loses ----------------------------------------------------------------------------


def send_labels(
    server: LocalServer, client: DeepchecksClient, batch: pa.RecordBatch, ids: SentIds | None = None
) -> Receipt:
    """Labels for samples of the first minute."""
    target = label_target(client, "m", (START, START + timedelta(minutes=1)))
    return uploader(client, FastClock(server), target, ids=ids).run(stream(batch, kind="labels"))


@pytest.mark.parametrize(
    ("before", "batch"),
    [
        pytest.param(10, label_rows(10, first=10), id="labels of others were there"),
        pytest.param(20, label_rows(20, value=2.0), id="other values in a window labelled throughout"),
        pytest.param(20, label_rows(20, value=None), id="null labels"),
        pytest.param(5, label_rows(20, value=2.0), id="some replaced and some new"),
    ],
)
def test_lost_labels_are_found_by_their_ids(
    queue: LocalServer, queue_client: DeepchecksClient, before: int, batch: pa.RecordBatch
) -> None:
    upload(queue, queue_client, 20)
    send_labels(queue, queue_client, label_rows(before))
    queue.wait_until_idle()
    with SentIds() as ids:
        queue.lose_next_poll()
        receipt = send_labels(queue, queue_client, batch, ids)
        queue.wait_until_idle()
        assert look(queue_client, receipt, AUTO, ids).state is State.WAITING
        wait(queue, queue_client, 61)
        lost = look(queue_client, receipt, AUTO, ids)
        assert (lost.state, lost.receipt.waiting) == (State.LOST, batch.num_rows)
        assert lost.missing[0] == batch.column(0)[0].as_py()
        again = send_labels(queue, queue_client, batch)
        queue.wait_until_idle()
        settled = look(queue_client, receipt, AUTO, ids)
        assert settled.state is State.SETTLED
        assert again.sent == batch.num_rows


def test_labels_that_come_in_during_the_look_were_not_there_before(
    queue: LocalServer, queue_client: DeepchecksClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(queue, queue_client, 10)
    queue.wait_until_idle()
    queue.pause_consumer()
    statuses = queue_client.version_statuses

    def after_the_counts(model_id: int) -> Any:
        queue.resume_consumer()
        queue.wait_until_idle()
        return statuses(model_id)

    with SentIds() as ids:
        receipt = send_labels(queue, queue_client, label_rows(10), ids)
        monkeypatch.setattr(queue_client, "version_statuses", after_the_counts)
        settled = look(queue_client, receipt, AUTO, ids)
    assert settled.state is State.SETTLED
    assert (settled.receipt.stored, settled.receipt.already_stored) == (10, 0)


def test_labels_of_a_sample_in_two_versions_are_no_two_labels(
    queue: LocalServer, queue_client: DeepchecksClient
) -> None:
    queue.create_model("m", "regression", version="shadow", features={"f": "numeric"})
    upload(queue, queue_client, 10)
    shadow = sample_target(queue_client, "m", "shadow")
    uploader(queue_client, FastClock(queue), shadow).run(stream(rows(10)))
    queue.wait_until_idle()
    with SentIds() as ids:
        target = label_target(queue_client, "m")
        clock = FastClock(queue)
        receipt = uploader(queue_client, clock, target, ids=ids).run(stream(label_rows(10), kind="labels"))
        queue.wait_until_idle()
        half = replace(receipt, read=20, sent=20, waiting=20)
        assert look(queue_client, half, RULES).state is State.WAITING
        assert look(queue_client, receipt, RULES).state is State.SETTLED
        assert look(queue_client, receipt, AUTO, ids).state is State.SETTLED


def test_labels_of_another_run_hide_no_lost_ones(queue: LocalServer, queue_client: DeepchecksClient) -> None:
    upload(queue, queue_client, 20)
    queue.wait_until_idle()
    with SentIds() as ids:
        queue.lose_next_poll()
        receipt = send_labels(queue, queue_client, label_rows(10), ids)
        queue.wait_until_idle()
        send_labels(queue, queue_client, label_rows(10, first=10))
        queue.wait_until_idle()
        wait(queue, queue_client, 61)
        lost = look(queue_client, receipt, AUTO, ids)
    assert (lost.state, lost.receipt.waiting) == (State.LOST, 10)


def test_rows_of_another_run_that_are_as_many_hide_no_lost_row(
    queue: LocalServer, queue_client: DeepchecksClient
) -> None:
    with SentIds() as ids:
        queue.lose_next_poll()
        receipt = upload(queue, queue_client, 10, ids=ids)
        queue.wait_until_idle()
        other = rows(10, prefix="other", step=timedelta(milliseconds=500))
        uploader(queue_client, FastClock(queue)).run(stream(other))
        queue.wait_until_idle()
        wait(queue, queue_client, 61)
        lost = look(queue_client, receipt, AUTO, ids)
    assert (lost.state, lost.receipt.waiting) == (State.LOST, 10)


def test_numbers_are_compared_as_the_server_shows_them() -> None:
    assert same_label(1 / 3, 0.3333333333)
    assert same_label(1e-12, 0)
    assert not same_label(1.0, 2.0)
    assert not same_label(1.0, True)
    assert not same_label(1.0, None)
    assert same_label("1", "1")
    assert not same_label("1", 1)
    assert same_label(None, None)


# -- windows with many rows, and long lists of errors --------------------------------------------------------


def test_a_window_is_read_in_pieces(
    version: CreatedVersion, client: DeepchecksClient, clock: FastClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 7)
    with SentIds() as ids:
        # Twenty of them have one and the same time, which no piece can split.
        batches = [rows(30), rows(20, first=30, start=START + timedelta(minutes=1), step=timedelta(0))]
        receipt = uploader(client, clock, ids=ids).run(stream(*batches))
        pieces = list(stored_pieces(client, version.id, *window_of(receipt), most=50))
        assert all(piece is not None and len(piece) <= 20 for piece in pieces)
        assert len(pieces) > 5
        found = look(client, receipt, replace(RULES, verify="ids"), ids)
        assert (found.state, found.receipt.stored) == (State.SETTLED, 50)
        assert None in list(stored_pieces(client, version.id, *window_of(receipt), most=49))


def test_rows_too_large_to_be_read_at_once_are_compared_in_pieces(
    deepchecks_server: LocalServer,
    client: DeepchecksClient,
    clock: FastClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 200_000)
    deepchecks_server.create_model(
        "m", "regression", features={"f": "numeric"}, additional_data={"note": "text"}
    )
    wide = rows(200).append_column("note", pa.array(["x" * 3_000] * 200))
    with SentIds() as ids:
        receipt = uploader(client, clock, ids=ids).run(stream(wide, size=50))
        found = look(client, receipt, replace(RULES, verify="ids"), ids)
    assert (found.state, found.receipt.stored) == (State.SETTLED, 200)
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 2_000)
    with SentIds() as ids:
        ids.add(wide)
        counted = look(client, receipt, AUTO, ids)
    assert counted.state is State.SETTLED, "where one row is too large, counts decide"


def test_a_list_that_is_too_long_proves_no_loss(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    client: DeepchecksClient,
    clock: FastClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten duplicates are listed and five are read: the others are not lost."""
    uploader(client, clock).run(stream(rows(10)))
    monkeypatch.setattr(targets, "MAX_LOOKED_UP_ROWS", 1)  # so that all are sent again
    receipt = uploader(client, clock).run(stream(rows(10)))
    monkeypatch.setattr(module, "MAX_ERRORS", 5)
    deepchecks_server.clock.advance(1_000)
    client.backend_version()
    cut = look(client, receipt, RULES)
    assert cut.state is State.LOST
    assert "as far as the server's list of errors was read" in cut.message
    with SentIds() as ids:
        ids.add(rows(10))
        assert look(client, receipt, AUTO, ids).state is State.SETTLED
