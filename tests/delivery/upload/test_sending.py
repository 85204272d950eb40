# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What one chunk meets on its way, fault by fault."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from airflow_provider_deepchecks.delivery.upload.clock import UploadCancelledError
from airflow_provider_deepchecks.delivery.upload.sending import Done, Sender
from airflow_provider_deepchecks.delivery.upload.targets import LabelChannel, SampleChannel
from airflow_provider_deepchecks.exceptions import (
    DeepchecksAuthError,
    DeepchecksNotFoundError,
    DeepchecksRateLimitError,
    DeepchecksServerError,
    DeepchecksTimeoutError,
    DeepchecksTLSError,
)
from airflow_provider_deepchecks.records.chunks.chunker import Chunk, ChunkSizer
from tests.delivery.conftest import FastClock, connect, connect_through, label_rows, rows
from tests.delivery.fault_proxy import Fault, FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.local_server.server import CreatedVersion, LocalServer

#: Seconds that a client waits for an answer that will not come.
TIMEOUT = 0.3


@pytest.fixture
def proxy(deepchecks_server: LocalServer) -> Iterator[FaultProxy]:
    with FaultProxy(deepchecks_server.url) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: FaultProxy, deepchecks_server: LocalServer) -> Iterator[DeepchecksClient]:
    with connect_through(proxy, deepchecks_server.token, timeout=TIMEOUT) as client:
        yield client


@pytest.fixture
def clock(deepchecks_server: LocalServer, proxy: FaultProxy) -> FastClock:
    return FastClock(deepchecks_server, on_sleep=lambda seconds: proxy.deliver_late())


def sender(client: DeepchecksClient, clock: FastClock, version: CreatedVersion, **more: Any) -> Sender:
    settings = {"sizer": ChunkSizer(), "rng": random.Random(1), "send_timeout": 300.0, **more}
    return Sender(SampleChannel(client, version.id), clock, **settings)


def send(to: Sender, batch: pa.RecordBatch, **more: Any) -> list[Done]:
    return list(to.send(Chunk(batch), **more))


def sent_ids(proxy: FaultProxy) -> list[list[str]]:
    return [request.sample_ids() for request, _ in proxy.seen]


def total(done: list[Done], what: str) -> int:
    return sum(getattr(item, what) for item in done)


def test_a_chunk_is_one_request(
    version: CreatedVersion, through: DeepchecksClient, clock: FastClock, proxy: FaultProxy
) -> None:
    done = send(sender(through, clock, version), rows(50))
    assert [(item.chunk.rows, item.found, item.resent, item.rejected) for item in done] == [(50, 0, 0, None)]
    assert len(proxy.seen) == 1
    assert clock.waited == []


@pytest.mark.parametrize(
    "fault",
    [Fault.RESET_BEFORE, Fault.ERROR_500, Fault.ERROR_502, Fault.ERROR_503, Fault.TOO_MANY, Fault.HTML_PAGE],
)
def test_what_did_not_arrive_is_sent_again(
    fault: Fault,
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    through: DeepchecksClient,
    clock: FastClock,
    proxy: FaultProxy,
) -> None:
    proxy.plan([fault, fault])
    done = send(sender(through, clock, version), rows(50))
    assert total(done, "found") == 0
    assert len(proxy.seen) == 3
    assert len(clock.waited) == 2
    assert len(deepchecks_server.stored("m", "v1")) == 50
    assert deepchecks_server.errors("m") == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault.RESET_AFTER,
        Fault.TRUNCATED,
        Fault.SILENT_AFTER,
        Fault.LATE,
        Fault.ERROR_500_AFTER,
        Fault.ERROR_503_AFTER,
        Fault.ERROR_504_AFTER,
        Fault.HTML_PAGE_AFTER,
    ],
)
def test_what_arrived_all_the_same_is_not_sent_again(
    fault: Fault,
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    through: DeepchecksClient,
    clock: FastClock,
    proxy: FaultProxy,
) -> None:
    proxy.plan([fault])
    done = send(sender(through, clock, version), rows(50))
    assert (total(done, "found"), total(done, "resent")) == (50, 0)
    assert len(proxy.seen) == 1
    assert len(deepchecks_server.stored("m", "v1")) == 50
    assert deepchecks_server.errors("m") == []


def test_where_nothing_can_be_seen_all_is_sent_again_and_counted(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    through: DeepchecksClient,
    clock: FastClock,
    proxy: FaultProxy,
) -> None:
    # The look itself fails, more often than a reading call is tried.
    proxy.plan([Fault.RESET_AFTER], reads=[Fault.HTML_PAGE])
    done = send(sender(through, clock, version), rows(50))
    assert (total(done, "found"), total(done, "resent")) == (0, 50)
    assert len(deepchecks_server.stored("m", "v1")) == 50
    assert len(deepchecks_server.errors("m")) == 50


def test_labels_are_sent_again_without_a_trace(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    through: DeepchecksClient,
    clock: FastClock,
    proxy: FaultProxy,
) -> None:
    proxy.plan([Fault.RESET_AFTER, Fault.ERROR_503])
    labels = Sender(LabelChannel(through, version.model_id), clock, sizer=ChunkSizer(max_rows=2000))
    done = list(labels.send(Chunk(label_rows(30), "labels")))
    assert (total(done, "found"), total(done, "resent")) == (0, 0)
    assert len(deepchecks_server.labels("m")) == 30


def test_a_silent_server_gets_smaller_chunks(
    version: CreatedVersion, through: DeepchecksClient, clock: FastClock, proxy: FaultProxy
) -> None:
    proxy.plan([Fault.SILENT])
    sizer = ChunkSizer(max_rows=100)
    send(sender(through, clock, version, sizer=sizer), rows(100))
    assert [len(ids) for ids in sent_ids(proxy)] == [100, 50, 50]
    assert sizer.rows > 50


def test_rows_that_timed_out_are_looked_for_a_while(
    version: CreatedVersion, through: DeepchecksClient, clock: FastClock, proxy: FaultProxy
) -> None:
    """Longer from look to look, but not so long that each timeout costs minutes."""
    proxy.plan([Fault.SILENT])
    send(sender(through, clock, version), rows(50))
    assert clock.waited[-3:] == [1.0, 2.0, 4.0]


def test_an_end_comes_when_the_server_stays_away(
    version: CreatedVersion, through: DeepchecksClient, clock: FastClock, proxy: FaultProxy
) -> None:
    proxy.plan([Fault.ERROR_503] * 1000)
    with pytest.raises(DeepchecksServerError, match="could not be sent within 300 s") as caught:
        send(sender(through, clock, version), rows(10))
    assert caught.value.retryable
    assert caught.value.status == 503
    assert 200 < sum(clock.waited) < 300
    assert len(proxy.seen) < 40


def test_no_connection_at_all_is_waited_for_and_ends(
    deepchecks_server: LocalServer, version: CreatedVersion, clock: FastClock
) -> None:
    with (
        connect("http://127.0.0.1:9", deepchecks_server.token, retries=0) as nobody,
        pytest.raises(DeepchecksServerError, match="could not be sent within 300 s"),
    ):
        send(sender(nobody, clock, version), rows(10))


def test_what_no_repetition_can_help_ends_at_once(
    deepchecks_server: LocalServer, version: CreatedVersion, clock: FastClock, proxy: FaultProxy
) -> None:
    with connect(proxy.url, "wrong.token") as stranger, pytest.raises(DeepchecksAuthError):
        send(sender(stranger, clock, version), rows(10))
    with (
        connect(deepchecks_server.url, deepchecks_server.token) as client,
        pytest.raises(DeepchecksNotFoundError),
    ):
        list(Sender(SampleChannel(client, 99), clock, sizer=ChunkSizer()).send(Chunk(rows(1))))
    with (
        connect(deepchecks_server.url.replace("http", "https"), deepchecks_server.token) as secret,
        pytest.raises(DeepchecksTLSError),
    ):
        send(sender(secret, clock, version), rows(1))
    assert clock.waited == []
    assert len(proxy.seen) == 1


def test_a_redirect_to_a_login_page_ends_at_once(
    deepchecks_server: LocalServer, version: CreatedVersion, client: DeepchecksClient, clock: FastClock
) -> None:
    deepchecks_server.answer_next(302, headers={"Location": "https://login.example/?next=x"}, path="/data")
    with pytest.raises(DeepchecksAuthError, match=r"login\.example"):
        send(sender(client, clock, version), rows(1))


def test_a_cancelled_upload_stops(
    version: CreatedVersion, through: DeepchecksClient, clock: FastClock, proxy: FaultProxy
) -> None:
    proxy.plan([Fault.ERROR_503] * 3)

    def cancel(seconds: float) -> None:
        clock.cancelled = len(clock.waited) == 1

    clock.on_sleep = cancel
    with pytest.raises(UploadCancelledError):
        send(sender(through, clock, version), rows(10))
    assert len(proxy.seen) == 2


# -- the rate limit --


def test_the_rest_waits_for_the_next_minute_of_the_server(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    through: DeepchecksClient,
    clock: FastClock,
    proxy: FaultProxy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    deepchecks_server.rows_per_minute = 40
    deepchecks_server.clock.go_to_second(10)
    done = send(sender(through, clock, version), rows(100))
    assert [item.chunk.rows for item in done] == [40, 40, 20]
    # Once the limit is known nothing is sent in vain.
    assert [len(ids) for ids in sent_ids(proxy)] == [100, 40, 20]
    assert len(clock.waited) == 2
    assert all(wait < 62 for wait in clock.waited)
    assert "The rate limit of 40 rows per minute is used up: waiting 5" in caplog.text
    assert deepchecks_server.errors("m") == []
    assert len(deepchecks_server.stored("m", "v1")) == 100


def test_a_minute_that_others_used_up_is_waited_out(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    through: DeepchecksClient,
    clock: FastClock,
    proxy: FaultProxy,
) -> None:
    deepchecks_server.rows_per_minute = 40
    deepchecks_server.clock.go_to_second(10)
    send(sender(through, clock, version), rows(40, prefix="other"))
    done = send(sender(through, clock, version), rows(30))
    assert [len(ids) for ids in sent_ids(proxy)] == [40, 30, 30]
    assert total(done, "resent") == 0


def test_others_using_up_every_minute_end_it(
    deepchecks_server: LocalServer, version: CreatedVersion, through: DeepchecksClient, clock: FastClock
) -> None:
    deepchecks_server.rows_per_minute = 1
    greedy = sender(through, clock, version)
    numbers = iter(range(1_000_000))

    def be_greedy(seconds: float) -> None:
        # Somebody else is always first in the new minute.
        deepchecks_server.clock.go_to_second(0)
        through.send_samples(version.id, Chunk(rows(1, first=next(numbers), prefix="o")).body, 1)
        deepchecks_server.clock.advance(-max(0.0, seconds))

    through.send_samples(version.id, Chunk(rows(1, prefix="first")).body, 1)
    clock.on_sleep = be_greedy
    with pytest.raises(DeepchecksRateLimitError, match="60 minutes in a row"):
        send(greedy, rows(5))


def test_the_limit_in_the_middle_of_rows_sent_again(
    deepchecks_server: LocalServer, version: CreatedVersion, through: DeepchecksClient, clock: FastClock
) -> None:
    through.send_samples(version.id, Chunk(rows(50).take(list(range(0, 50, 2)))).body, 25)
    deepchecks_server.rows_per_minute = 35
    done = send(sender(through, clock, version), rows(50), maybe_sent=True)
    assert total(done, "found") + total(done, "resent") >= 50
    assert len(deepchecks_server.stored("m", "v1")) == 50
    assert deepchecks_server.errors("m") == []


# -- sizes --


def test_a_body_too_large_for_a_proxy_is_halved(
    deepchecks_server: LocalServer,
    version: CreatedVersion,
    through: DeepchecksClient,
    clock: FastClock,
    proxy: FaultProxy,
) -> None:
    proxy.max_body = 3000
    sizer = ChunkSizer()
    done = send(sender(through, clock, version, sizer=sizer), rows(100))
    assert total(done, "resent") == 0
    assert len(deepchecks_server.stored("m", "v1")) == 100
    assert sizer.max_bytes < 4000
    assert deepchecks_server.errors("m") == []


def test_a_single_row_too_large_for_a_proxy_is_named(
    version: CreatedVersion, through: DeepchecksClient, clock: FastClock, proxy: FaultProxy
) -> None:
    proxy.max_body = 10
    done = send(sender(through, clock, version), rows(2))
    assert [item.rejected is not None and "too large for a proxy" in item.rejected for item in done] == [
        True,
        True,
    ]


# -- a row that the server cannot take --


def bad(batch: pa.RecordBatch, *places: int) -> pa.RecordBatch:
    notes = ["a\0b" if n in places else "fine" for n in range(batch.num_rows)]
    return batch.append_column("note", pa.array(notes, pa.string()))


@pytest.fixture
def noted(deepchecks_server: LocalServer) -> CreatedVersion:
    return deepchecks_server.create_model(
        "m", "regression", features={"f": "numeric"}, additional_data={"note": "text"}
    )


@pytest.mark.parametrize("places", [(0,), (63,), (31, 32), (0, 1, 2, 3), (5, 20, 40)])
def test_an_error_500_is_narrowed_down_to_its_rows(
    places: tuple[int, ...],
    deepchecks_server: LocalServer,
    noted: CreatedVersion,
    through: DeepchecksClient,
    clock: FastClock,
) -> None:
    done = send(sender(through, clock, noted), bad(rows(64), *places))
    assert [item.chunk.sample_ids()[0] for item in done if item.rejected] == [f"s{n}" for n in places]
    assert [name for item in done for name in item.chunk.sample_ids()] == [f"s{n}" for n in range(64)]
    stored = deepchecks_server.stored("m", "v1")
    assert set(stored) == {f"s{n}" for n in range(64) if n not in places}


def test_any_row_of_the_chunk_can_show_that_the_server_is_well(
    deepchecks_server: LocalServer, noted: CreatedVersion, through: DeepchecksClient, clock: FastClock
) -> None:
    done = send(sender(through, clock, noted), bad(rows(3), 0, 1))
    assert [item.rejected is not None for item in done] == [True, True, False]
    assert set(deepchecks_server.stored("m", "v1")) == {"s2"}
    # It was sent again to tell, and that is counted: with the rows that may have arrived, never too low.
    assert total(done, "resent") >= len(deepchecks_server.errors("m")) == 3


def test_rows_to_come_show_that_the_server_is_well(
    deepchecks_server: LocalServer, noted: CreatedVersion, through: DeepchecksClient, clock: FastClock
) -> None:
    to = sender(through, clock, noted)
    # The first of them has the same fault: more than one is tried.
    done = send(to, bad(rows(2), 0, 1), following=lambda: Chunk(bad(rows(6, first=2), 0)))
    assert [item.rejected is not None for item in done] == [True, True]


def test_a_server_that_takes_nothing_is_no_matter_of_rows(
    noted: CreatedVersion, through: DeepchecksClient, clock: FastClock, proxy: FaultProxy
) -> None:
    """The broker behind it is down: every request answers 500."""
    proxy.plan([Fault.ERROR_500] * 1000)
    with pytest.raises(DeepchecksServerError, match="could not be sent within") as caught:
        send(sender(through, clock, noted), bad(rows(64)))
    assert caught.value.status == 500
    assert len(proxy.seen) < 120


def test_a_server_that_recovers_takes_all(
    deepchecks_server: LocalServer,
    noted: CreatedVersion,
    through: DeepchecksClient,
    clock: FastClock,
    proxy: FaultProxy,
) -> None:
    proxy.plan([Fault.ERROR_500] * 25)
    done = send(sender(through, clock, noted), bad(rows(64)))
    assert not any(item.rejected for item in done)
    assert len(deepchecks_server.stored("m", "v1")) == 64


def test_a_well_known_row_tells_a_sick_server_from_a_bad_chunk(
    deepchecks_server: LocalServer,
    noted: CreatedVersion,
    through: DeepchecksClient,
    clock: FastClock,
    proxy: FaultProxy,
) -> None:
    to = sender(through, clock, noted)
    send(to, bad(rows(5)))
    proxy.plan([Fault.ERROR_500] * 8)
    done = send(to, bad(rows(64, first=5)))
    # It was never halved.
    assert {len(ids) for ids in sent_ids(proxy)} == {64, 1}
    assert [item.chunk.rows for item in done] == [64]


def test_asking_to_come_back_at_once_is_no_reason_to_hurry(
    version: CreatedVersion, through: DeepchecksClient, clock: FastClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``Retry-After: 0`` from a server that stays away must not become a hot loop."""
    tried = []

    def unavailable(*arguments: object) -> None:
        tried.append(1)
        raise DeepchecksServerError("busy", status=503, retry_after=0.0)

    monkeypatch.setattr(through, "send_samples", unavailable)
    with pytest.raises(DeepchecksServerError, match="could not be sent within 300 s"):
        send(sender(through, clock, version), rows(10))
    assert len(tried) < 40
    assert min(clock.waited) > 0


def test_every_row_taken_is_progress(
    version: CreatedVersion, through: DeepchecksClient, clock: FastClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a chunk that timed out has the whole time again once other parts of it went through."""
    post = through.send_samples
    sizes: list[int] = []

    def slow(version_id: int, body: bytes, count: int) -> Any:
        sizes.append(count)
        if len(sizes) == 1:
            raise DeepchecksTimeoutError("too many at once")
        clock.server.clock.advance(50)
        if len(sizes) == 9:
            raise DeepchecksServerError("restarting", status=502)
        return post(version_id, body, count)

    monkeypatch.setattr(through, "send_samples", slow)
    sizer = ChunkSizer(max_rows=100)
    assert total(send(sender(through, clock, version, sizer=sizer), rows(2000)), "found") == 0
    assert sum(sizes) - sizes[0] - sizes[8] == 2000
