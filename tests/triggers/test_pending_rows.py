# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The trigger: what it is made of, and how it ends."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from airflow_provider_deepchecks.client.settings import ClientSettings
from airflow_provider_deepchecks.delivery.proof.settlement import State
from airflow_provider_deepchecks.delivery.proof.watch import CoverageWatch, QuietWatch, Sighting
from airflow_provider_deepchecks.exceptions import DeepchecksConnectionError, DeepchecksServerError
from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook
from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor
from airflow_provider_deepchecks.triggers import pending_rows as module
from airflow_provider_deepchecks.triggers import shared
from airflow_provider_deepchecks.triggers.pending_rows import (
    TIMEOUT,
    DeepchecksPendingRowsTrigger,
    last_seen,
    read_event,
)
from airflow_provider_deepchecks.triggers.shared import SharedClient
from tests.client.raw_server import RawServer

QUIET = QuietWatch("m", "v1", quiet_for=0.0, stall_after=900.0).to_dict()
BUSY = QuietWatch("m", "v1", quiet_for=3600.0, stall_after=7200.0).to_dict()


def trigger(watch: Any = QUIET, *, seconds: float = 5.0, conn_id: str = "deepchecks_default") -> Any:
    now = time.time()
    return DeepchecksPendingRowsTrigger(
        watch=watch, deepchecks_conn_id=conn_id, poll_interval=0.1, started_at=now, deadline=now + seconds
    )


def run(one: Any) -> dict[str, Any]:
    """The payload of the one event of a trigger."""

    async def events() -> list[Any]:
        return [event async for event in one.run()]

    (event,) = asyncio.run(events())
    payload: dict[str, Any] = event.payload
    assert json.loads(json.dumps(payload)) == payload
    return payload


@pytest.fixture
def model(deepchecks_server):
    deepchecks_server.create_model("m", "regression", features={"x": "numeric"})
    return deepchecks_server


def test_arguments_are_plain_json():
    path, arguments = trigger().serialize()
    assert path == "airflow_provider_deepchecks.triggers.pending_rows.DeepchecksPendingRowsTrigger"
    assert json.loads(json.dumps(arguments)) == arguments


def test_through_airflows_database(airflow_db):
    """As Airflow keeps it between worker and triggerer."""
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session

    before = trigger()
    with create_session() as session:
        row = Trigger.from_object(before)
        session.add(row)
        session.flush()
        number = row.id
    with create_session() as session:
        row = session.get(Trigger, number)
        module, _, name = row.classpath.rpartition(".")
        assert (module, name) == (type(before).__module__, type(before).__name__)
        after = DeepchecksPendingRowsTrigger(**row.kwargs)
        session.delete(row)
    assert after.serialize() == before.serialize()


def test_settled(model):
    sighting = read_event(run(trigger()))
    assert sighting is not None
    assert sighting.error() is None
    assert sighting.result == {"model": "m", "version": "v1", "pending_rows": 0}


def test_deadline(model):
    before = time.time()
    payload = run(trigger(BUSY, seconds=1.0))
    assert 0.9 < time.time() - before < 30
    assert payload["state"] == TIMEOUT
    assert "nothing is pending" in last_seen(payload)
    assert read_event(payload) is None


def test_deadline_before_the_next_poll(model):
    """The deadline is honoured however long the poll interval is."""
    slow = trigger(BUSY, seconds=0.5)
    slow.poll_interval = 600.0
    before = time.time()
    assert run(slow)["state"] == TIMEOUT
    assert time.time() - before < 60


@pytest.mark.parametrize(
    ("watch", "told"),
    [({**QUIET, "model": "mm"}, "no model 'mm'"), ({"kind": "strange"}, "Unknown kind of watch")],
)
def test_what_waiting_cannot_mend(model, watch, told):
    sighting = read_event(run(trigger(watch)))
    assert sighting is not None
    error = sighting.error()
    assert error is not None
    assert told in str(error)
    assert not error.retryable


def test_unknown_connection_is_left_to_retries(airflow_db):
    """Airflow says the same when what keeps its connections is away."""
    sighting = read_event(run(trigger(conn_id="nowhere")))
    assert sighting is not None
    error = sighting.error()
    assert error is not None
    assert "deepchecks_conn_id='nowhere'" in str(error)
    assert error.retryable


def test_threads_know_their_way_back_to_the_loop(model, monkeypatch):
    """A triggerer of Airflow 3.0 to 3.2 asks for connections there, and breaks when it is asked elsewhere."""
    loops: list[Any] = []

    async def ask() -> None:
        loops.append(asyncio.get_running_loop())

    def asking(function: Any) -> Any:
        def asked(*arguments: Any) -> Any:
            async_to_sync(ask)()
            return function(*arguments)

        return asked

    monkeypatch.setattr(DeepchecksHook, "get_connection", staticmethod(asking(DeepchecksHook.get_connection)))
    monkeypatch.setattr(QuietWatch, "look", asking(QuietWatch.look))

    async def event() -> Any:
        return asyncio.get_running_loop(), await anext(trigger().run())

    loop, found = asyncio.run(event())
    assert found.payload["state"] == "settled"
    assert len(loops) >= 2
    assert set(loops) == {loop}


def test_what_nobody_foresaw_is_no_skip(model):
    """As a watch that another version of this package has written: Airflow would skip a soft_fail task."""
    payload = run(trigger({"kind": "quiet", "model": "m"}))
    sensor = DeepchecksPendingRowsSensor(task_id="s", model_name="m", deferrable=True, soft_fail=True)
    with pytest.raises(DeepchecksServerError, match="broke off: KeyError"):
        sensor.resume_execution("execute_complete", {"event": payload}, {})


def test_coverage(model):
    watch = CoverageWatch("m", None, None, None, 0.5, time.time() - 1, fail_at_deadline=True).to_dict()
    sighting = read_event(run(trigger(watch)))
    assert sighting is not None
    assert "0 of 0 rows" in sighting.message
    assert sighting.error() is not None


def test_intervals_grow(monkeypatch, model):
    looks = iter([State.WAITING] * 4 + [State.SETTLED])
    monkeypatch.setattr(QuietWatch, "look", lambda *_: Sighting(next(looks), "a look"))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    # Of the trigger alone: the stand-in sleeps by the same function, in a thread of this process.
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))
    growing = trigger(seconds=600)
    growing.longest_interval = 0.5
    assert run(growing)["state"] == "settled"
    assert slept == [0.1, 0.2, 0.4, 0.5, 0.5]


def test_triggers_share_calls(model):
    """Many tasks that wait for one model ask for its versions together."""

    async def many() -> None:
        async def one() -> None:
            async for _ in trigger(BUSY, seconds=1.5).run():
                pass

        await asyncio.gather(*(one() for _ in range(20)))

    before = len(model.exchanges)
    asyncio.run(many())
    asked = [item.path for item in model.exchanges[before:] if item.path.endswith("/versions")]
    assert 1 <= len(asked) <= 10


def test_changed_connection_is_found(model, monkeypatch):
    """A trigger whose server moves finds it at its next look."""
    right = model.connection_json
    wrong = {**json.loads(right), "host": "http://127.0.0.1:9", "extra": {"retries": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", json.dumps(wrong))

    async def events() -> list[Any]:
        async def mend() -> None:
            await asyncio.sleep(0.15)
            monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", right)

        mending = asyncio.create_task(mend())
        found = [event async for event in trigger(seconds=20).run()]
        await mending
        return found

    (event,) = asyncio.run(events())
    assert event.payload["state"] == "settled"


def changed(monkeypatch: pytest.MonkeyPatch, change: Any) -> dict[str, Any]:
    """The payload of a trigger that waits for 1.5 s, with a change after 0.5 s."""
    monkeypatch.setattr(shared, "FRESH_SECONDS", 0.0)

    async def event() -> Any:
        waiting = asyncio.create_task(anext(trigger(BUSY, seconds=1.5).run()))
        await asyncio.sleep(0.5)
        change()
        return await waiting

    payload: dict[str, Any] = asyncio.run(event()).payload
    return payload


def test_changed_token_is_found(model, monkeypatch):
    def change() -> None:
        fields = {**json.loads(model.connection_json), "password": "ZGVtb0BleGFtcGxlLmNvbQ==.newer"}
        monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", json.dumps(fields))
        model._state.options = replace(model._state.options, token=fields["password"])

    assert changed(monkeypatch, change)["state"] == TIMEOUT
    assert {200, 401} <= {item.status for item in model.exchanges}


def test_connection_that_cannot_be_read_again_is_used_as_it_was(model, airflow_db, monkeypatch):
    """Airflow says that there is no such connection when the place that keeps it is away."""
    fields = {**json.loads(model.connection_json), "extra": {"retries": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", json.dumps(fields))

    def away() -> None:
        monkeypatch.delenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT")
        model.answer_next(503, b"<html>away</html>", path="/versions", times=2)

    assert changed(monkeypatch, away)["state"] == TIMEOUT
    assert 503 in {item.status for item in model.exchanges}


def test_server_that_hangs_holds_up_no_other(model, monkeypatch):
    done = threading.Event()
    with RawServer(lambda connection, request: (done.wait(60), connection.close())[1]) as hanging:
        fields = {"conn_type": "deepchecks", "host": hanging.url, "password": "abc.def"}
        monkeypatch.setenv("AIRFLOW_CONN_HANGING", json.dumps({**fields, "extra": {"retries": 0}}))

        async def event() -> Any:
            stuck = [
                asyncio.create_task(anext(trigger(seconds=0.1, conn_id="hanging").run())) for _ in range(20)
            ]
            try:
                while len(hanging.requests) < 1:
                    await asyncio.sleep(0.05)
                return await asyncio.wait_for(anext(trigger().run()), 30)
            finally:
                done.set()
                await asyncio.gather(*stuck)

        assert asyncio.run(event()).payload["state"] == "settled"


def test_failed_call_is_shared():
    """Triggers that wait for one answer do not each wait out a server that hangs."""
    done = threading.Event()
    with RawServer(lambda connection, request: (done.wait(60), connection.close())[1]) as hanging:
        client = SharedClient(ClientSettings(hanging.url, "abc.def", retries=0))
        errors: list[Exception] = []

        def ask() -> None:
            try:
                client.version_statuses(1)
            except DeepchecksConnectionError as error:
                errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        done.set()
        for thread in threads:
            thread.join()
        assert len(errors) == 8
        assert len(hanging.requests) < 8


def test_young_names_are_found(model):
    """Names are kept for a while; a version that is younger is found all the same."""
    client = SharedClient(DeepchecksHook().settings)
    client.resolve("m", "v1")
    model.create_model("m", "regression", version="v2", features={"x": "numeric"})
    _, version = client.resolve("m", "v2")
    assert version is not None
    assert version.name == "v2"
