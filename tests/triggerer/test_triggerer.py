# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Deferred tasks in a real ``airflow triggerer``: they leave their worker, are watched, and come back.

The server holds the rows and labels back until all tasks are in the triggerer, and one has had enough of it.
The connection is in Airflow's database, so the triggerer has to ask for it from within a running trigger.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_deepchecks.local_server import CreatedVersion, LocalServer, Options
from airflow_provider_deepchecks.triggers.pending_rows import DeepchecksPendingRowsTrigger
from tests.kill.installation import Installation, TaskRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services import Service

pytestmark = pytest.mark.timeout(600)

DAG_ID = "waiting"
#: Tasks that wait in the triggerer, and what it sees there until rows and labels are let in.
SEEN = {
    **dict.fromkeys(
        ("one_refused", "none_refused", "impatient", "upload_and_wait"),
        "10 of 10 rows are neither stored nor",
    ),
    "labels": "0 of 4 rows have a label",
}
DEFERRED = set(SEEN)
PATIENCE = 120.0


@dataclass
class Waited:
    """The run when it is over.

    :param triggers: class of the trigger of each task that was seen deferred.
    """

    airflow: Installation
    tasks: dict[str, TaskRun]
    triggers: dict[str, str]


def _trigger_log(task_id: str) -> str:
    return f"task_id={task_id}/attempt=1.log.trigger."


def _prepare(server: LocalServer) -> CreatedVersion:
    """Models, one with samples that lack their labels; nothing is stored from here on."""
    for name in ("young", "old", "labelled"):
        made = server.create_model(name, "regression", features={"x": "numeric"})
    samples = [
        {"_dc_sample_id": f"s{n}", "_dc_time": "2026-01-01T00:00:00+00:00", "_dc_prediction": 1.0, "x": 1.0}
        for n in range(4)
    ]
    server.call("POST", f"/model-versions/{made.id}/data", samples)
    server.wait_until_idle()
    server.pause_consumer()
    return made


def _wait_until_deferred(airflow: Installation) -> dict[str, str]:
    """Wait until a triggerer has looked for all waiting tasks, and the impatient one has left it; their
    triggers."""
    query = (
        "SELECT task_id, classpath FROM task_instance JOIN trigger ON trigger.id = trigger_id "
        "WHERE dag_id = %s AND state = 'deferred' AND triggerer_id IS NOT NULL"
    )
    seen: dict[str, str] = {}
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        now = dict(airflow.query(query, DAG_ID))
        seen |= now
        looked = {name for name, text in SEEN.items() if text in airflow.task_logs(_trigger_log(name))}
        if set(seen) == looked == DEFERRED and set(now) == DEFERRED - {"impatient"}:
            return seen
        airflow.check()
        for (name, _), task in airflow.tasks(DAG_ID).items():
            assert task.state != "failed" or name == "impatient", airflow.task_logs(f"task_id={name}")[-4000:]
        time.sleep(0.2)
    raise TimeoutError(
        f"Of {DEFERRED}, {seen.keys()} were deferred, {looked} looked: {airflow.tasks(DAG_ID)}"
    )


def _let_in(server: LocalServer, labelled: CreatedVersion, newest: datetime) -> None:
    """Store the labels and rows, by a clock that stands still before the newest of the young rows."""
    labels = [{"_dc_sample_id": f"s{n}", "_dc_label": 1.0} for n in range(3)]
    server.call("PUT", f"/model/{labelled.model_id}/labels", labels)
    server.clock.stop_at(newest - timedelta(milliseconds=1))
    server.resume_consumer()


@pytest.fixture(scope="module")
def waited(postgres_server: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waited]:
    folder = tmp_path_factory.mktemp("triggerer")
    dags = Path(__file__).parent / "dags"
    with ExitStack() as stack:
        server = stack.enter_context(LocalServer(Options(one_model=False, consumer=True, consumer_delay=0.1)))
        labelled = _prepare(server)
        airflow = stack.enter_context(
            Installation(postgres_server, folder / "airflow", dags, {}, triggerer=True)
        )
        airflow.add_connection("deepchecks_default", "deepchecks", server.url, server.token)
        triggers = _wait_until_deferred(airflow)
        receipt = airflow.tasks(DAG_ID)["upload", -1].result
        _let_in(server, labelled, datetime.fromisoformat(receipt["window_end"]))
        airflow.wait(DAG_ID, PATIENCE)
        tasks = {task_id: task for (task_id, _), task in airflow.tasks(DAG_ID).items()}
        yield Waited(airflow, tasks, triggers)


def test_tasks_were_deferred(waited: Waited) -> None:
    trigger = f"{DeepchecksPendingRowsTrigger.__module__}.{DeepchecksPendingRowsTrigger.__qualname__}"
    assert waited.triggers == dict.fromkeys(DEFERRED, trigger)


@pytest.mark.parametrize("task_id", sorted(DEFERRED))
def test_triggerer_looked(waited: Waited, task_id: str) -> None:
    """Each look is in the task's own log, as Airflow's web pages show it."""
    log = waited.airflow.task_logs(_trigger_log(task_id))
    assert SEEN[task_id] in log
    assert "look failed" not in log
    assert "Traceback" not in waited.airflow.tail("triggerer")


def test_outcomes(waited: Waited) -> None:
    assert {name: task.state for name, task in waited.tasks.items()} == {
        "upload": "success",
        "one_refused": "success",
        "none_refused": "failed",
        "impatient": "failed",
        "upload_and_wait": "success",
        "labels": "success",
    }
    assert {task.tries for task in waited.tasks.values()} == {1}


@pytest.mark.parametrize(
    ("task_id", "stored", "refused"), [("one_refused", 9, 1), ("upload_and_wait", 10, 0)]
)
def test_receipt_is_settled(waited: Waited, task_id: str, stored: int, refused: int) -> None:
    receipt = waited.tasks[task_id].result
    assert (receipt["read"], receipt["stored"], receipt["refused"], receipt["waiting"]) == (
        *(10, stored, refused),
        0,
    )


def test_labels_are_counted(waited: Waited) -> None:
    result = waited.tasks["labels"].result
    assert (result["samples"], result["labeled"], result["coverage"]) == (4, 3, 0.75)


@pytest.mark.parametrize(
    ("task_id", "told"),
    [
        ("none_refused", "the server refused 1 row (allowed: 0). First ones: s09: Got future"),
        ("impatient", "Sensor has timed out after 3 s. Last seen: model 'young'"),
    ],
)
def test_failed_task_tells_why(waited: Waited, task_id: str, told: str) -> None:
    log = waited.airflow.log_with(told, f"task_id={task_id}/")
    assert told in log, log
