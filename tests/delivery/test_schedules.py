# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Uploads through a proxy that breaks requests, killed at random: nothing lost, nothing twice, and the
receipt agrees.

``DEEPCHECKS_SCHEDULES`` sets how many random schedules are played.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_deepchecks.client.clock import ServerClock
from airflow_provider_deepchecks.delivery.ids import SentIds
from airflow_provider_deepchecks.delivery.proof.observe import look
from airflow_provider_deepchecks.delivery.proof.settlement import SettlementRules, State
from airflow_provider_deepchecks.delivery.upload.checkpoint import NoCheckpoint, StoreCheckpoint
from airflow_provider_deepchecks.delivery.upload.targets import sample_target
from airflow_provider_deepchecks.delivery.upload.uploader import Uploader, UploadOptions
from airflow_provider_deepchecks.exceptions import DeepchecksServerError
from airflow_provider_deepchecks.local_server.options import Options
from airflow_provider_deepchecks.local_server.server import LocalServer
from tests.delivery.conftest import connect_through, rows, stream
from tests.delivery.fault_proxy import SLOW, Fault, FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.delivery.receipt import Receipt

SCHEDULES = int(os.environ.get("DEEPCHECKS_SCHEDULES", "200"))
#: Seconds that a client waits for an answer that will not come.
TIMEOUT = 0.15
RULES = SettlementRules(max_refused=1.0, lost_after=60)

names = (f"m{number}" for number in itertools.count())


class Killed(BaseException):
    """The process is gone."""


class Store(dict[str, Any]):
    """A key-value store as Airflow's, which the process can die at."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.die_at: tuple[int, bool] | None = None

    def set(self, key: str, value: Any) -> None:
        self.writes += 1
        if self.die_at == (self.writes, False):
            raise Killed
        self[key] = value
        if self.die_at == (self.writes, True):
            raise Killed

    def delete(self, key: str) -> None:
        self.pop(key, None)


@dataclass(repr=False)
class World:
    """A server behind the proxy, and time that only moves when somebody waits."""

    server: LocalServer
    proxy: FaultProxy

    def client(self) -> DeepchecksClient:
        """A client whose clock is the server's, read off ``Date`` headers."""
        client = connect_through(self.proxy, self.server.token, timeout=TIMEOUT, retries=20)
        client._http.clock = ServerClock(wall=time.time, monotonic=self.server.clock.time)
        return client


@dataclass
class ProxyClock:
    """Waiting moves the server's clock and hands over what arrives late."""

    world: World
    client: DeepchecksClient

    def monotonic(self) -> float:
        return self.world.server.clock.time()

    def server_now(self) -> Any:
        return self.client.server_now()

    def sleep(self, seconds: float) -> None:
        self.world.server.clock.advance(max(0.0, seconds))
        self.world.proxy.deliver_late()

    def check(self) -> None:
        pass


def _world(**options: Any) -> Iterator[World]:
    with (
        LocalServer(Options(one_model=False, broker_timeout=0.05, **options)) as server,
        FaultProxy(server.url) as proxy,
    ):
        proxy.on_minute_border = lambda: server.clock.go_to_second(59.99)
        yield World(server, proxy)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A schedule logs hundreds of faults; only the broken assertion matters."""
    caplog.set_level("ERROR", "airflow_provider_deepchecks")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    yield from _world()


@pytest.fixture(scope="module")
def queueing_world() -> Iterator[World]:
    yield from _world(consumer=True, consumer_delay=0.0, offset_lag=0.0)


fast = st.sampled_from([fault for fault in Fault if fault not in SLOW])


@st.composite
def faults(draw: st.DrawFn) -> tuple[Fault, ...]:
    """Mostly quick ones, and at most two that cost real time."""
    drawn = draw(st.lists(fast, max_size=12))
    for slow in draw(st.one_of(st.just([]), st.just([]), st.lists(st.sampled_from(SLOW), max_size=2))):
        drawn.insert(draw(st.integers(0, len(drawn))), slow)
    return tuple(drawn)


@dataclass(frozen=True)
class Plan:
    """One schedule."""

    rows: int
    chunk: int
    stored_before: frozenset[int]
    poisonous: frozenset[int]
    sends: tuple[Fault, ...]
    reads: tuple[Fault, ...]
    rows_per_minute: int
    second: float
    checkpoint: bool
    labels: bool
    deaths: tuple[tuple[int, bool], ...]


@st.composite
def plans(draw: st.DrawFn, *, poison: bool = True) -> Plan:
    count = draw(st.integers(3, 30))
    some = st.frozensets(st.integers(0, count - 1), max_size=count)
    return Plan(
        rows=count,
        chunk=draw(st.integers(2, 20)),
        stored_before=draw(st.one_of(st.just(frozenset[int]()), some)),
        poisonous=draw(
            st.one_of(*[st.just(frozenset[int]())] * 3, st.frozensets(st.integers(0, count - 1), max_size=2))
        )
        if poison
        else frozenset(),
        sends=draw(faults()),
        reads=tuple(draw(st.lists(fast, max_size=6))),
        rows_per_minute=draw(st.sampled_from([500_000, 500_000, 500_000, 2, 7, 25])),
        second=draw(st.floats(0, 59.9)),
        checkpoint=draw(st.booleans()),
        labels=draw(st.booleans()),
        deaths=tuple(draw(st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=3))),
    )


def poisoned(batch: pa.RecordBatch, places: frozenset[int]) -> pa.RecordBatch:
    """The same rows with a text the server cannot take in some of them."""
    notes = ["a\0b" if n in places else "fine" for n in range(batch.num_rows)]
    return batch.append_column("note", pa.array(notes, pa.string()))


def upload(world: World, plan: Plan, model: str, batch: pa.RecordBatch) -> tuple[Receipt, list[str]]:
    """Attempts, as Airflow makes them, until one ends well."""
    store = Store()
    deaths = list(plan.deaths)
    rejected: list[str] = []
    for attempt in range(1, 40):
        store.writes, store.die_at = 0, deaths.pop(0) if deaths else None
        checkpoint = StoreCheckpoint(store) if plan.checkpoint else NoCheckpoint()
        rejected.clear()
        with world.client() as client, SentIds() as ids:
            try:
                receipt = Uploader(
                    client,
                    sample_target(client, model, "v1"),
                    UploadOptions(with_labels=plan.labels, repeated=attempt > 1, send_timeout=60),
                    checkpoint=checkpoint,
                    ids=ids,
                    clock=ProxyClock(world, client),
                    rng=random.Random(attempt),
                    on_rejected=lambda row, reason: rejected.append(row.column("_dc_sample_id")[0].as_py()),
                ).run(stream(batch, size=plan.chunk))
            except (DeepchecksServerError, Killed):
                world.proxy.deliver_late()
                continue
            # Only a proof by ids may need them; look() is given them as an operator that waits does.
            world.proxy.deliver_late()
            world.server.wait_until_idle()
            world.proxy.read_schedule.clear()
            settled = look(client, receipt, RULES, ids)
            assert settled.state is State.SETTLED, settled.message
            # Counts alone come to the same, or say that they cannot tell.
            counted = look(client, receipt, replace(RULES, verify="counts"))
            assert counted.needs_ids or counted.state is State.SETTLED, counted.message
            return settled.receipt, list(rejected)
    raise AssertionError("no attempt ended well")


def play(world: World, plan: Plan) -> None:
    model = next(names)
    world.server.rows_per_minute = 500_000
    world.proxy.plan()
    made = world.server.create_model(
        model, "regression", features={"f": "numeric"}, additional_data={"note": "text"}
    )
    labels = [float(n) for n in range(plan.rows)] if plan.labels else None
    batch = poisoned(rows(plan.rows, labels=labels), plan.poisonous)
    there = sorted(plan.stored_before - plan.poisonous)
    if there:
        old = [{**row, "f": -1.0} for row in _json(batch.take(there))]
        world.server.call("POST", f"/model-versions/{made.id}/data", old)
        world.server.wait_until_idle()
    world.server.clock.go_to_second(plan.second)
    world.server.rows_per_minute = plan.rows_per_minute
    world.proxy.plan(plan.sends, plan.reads)

    receipt, rejected = upload(world, plan, model, batch)

    good = {f"s{n}" for n in range(plan.rows)} - {f"s{n}" for n in plan.poisonous}
    stored = world.server.stored(model, "v1")
    assert set(stored) == good
    assert all(stored[f"s{n}"]["f"] == -1.0 for n in there), "the first write wins"
    assert sorted(rejected) == sorted(f"s{n}" for n in plan.poisonous)
    assert receipt.read == plan.rows
    assert receipt.waiting == receipt.refused == 0
    assert receipt.quarantined == len(plan.poisonous)
    assert receipt.stored + receipt.already_stored == len(good)
    if plan.checkpoint or not plan.deaths:
        assert receipt.already_stored >= len(there)
    if plan.labels:
        assert set(world.server.labels(model)) == good
        assert receipt.labels is not None
        assert receipt.labels.waiting == 0


def _json(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    out = []
    for row in batch.to_pylist():
        row = {key: value for key, value in row.items() if key not in ("__position", "_dc_label")}
        row["_dc_time"] = row.pop("__time").isoformat()
        out.append(row)
    return out


@settings(
    max_examples=SCHEDULES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    print_blob=True,
)
@given(plan=plans())
def test_after_any_schedule_each_row_is_there_once(world: World, plan: Plan) -> None:
    play(world, plan)


@settings(
    max_examples=max(10, SCHEDULES // 4),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    print_blob=True,
)
@given(plan=plans(poison=False))
def test_after_any_schedule_each_row_is_there_once_with_a_queue(queueing_world: World, plan: Plan) -> None:
    play(queueing_world, replace(plan, labels=False))
