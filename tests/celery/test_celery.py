# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The mapped example on a real CeleryExecutor: two workers, too small a rate limit, one worker killed."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import psutil
import pytest

from airflow_provider_deepchecks.local_server import LocalServer, Options
from example_dags.demo import stage, warehouse
from tests.celery.workers import celery_settings, start_worker
from tests.kill.installation import Installation, TaskRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services import Service

pytestmark = pytest.mark.timeout(900)

DAG_ID = "flights_mapped"
FIRST, DAYS = date(2013, 7, 1), 5
#: Less than the samples, so that both uploads meet the limit; more than half, so that a minute is enough.
ROWS_PER_MINUTE = 6_000
PATIENCE = 300.0


@dataclass
class Backfill:
    """What is left of the run."""

    state: str
    tasks: dict[tuple[str, int], TaskRun]
    server: LocalServer
    days: list[warehouse.Day]
    killed: tuple[str, int]
    log: str


def _wait_until_busy(airflow: Installation, worker: str) -> tuple[str, int]:
    """Wait until a worker has a label task in hand; the task."""
    pid, deadline = airflow.processes[worker].pid, time.monotonic() + PATIENCE
    query = "SELECT task_id, map_index, pid FROM task_instance WHERE dag_id = %s AND state = 'running'"
    while time.monotonic() < deadline:
        for task_id, index, task_pid in airflow.query(query, DAG_ID):
            try:
                above = {parent.pid for parent in psutil.Process(task_pid or 0).parents()}
            except psutil.NoSuchProcess:
                continue
            if pid in above and task_id == "log_delays":
                return task_id, index
        airflow.check()
        time.sleep(0.05)
    raise TimeoutError(f"{worker} never had a label task: {airflow.tasks(DAG_ID)}\n{airflow.tail(worker)}")


@pytest.fixture(scope="module")
def backfill(
    postgres_server: Service, redis_server: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backfill]:
    folder = tmp_path_factory.mktemp("celery")
    flights = folder / "flights.db"
    warehouse.load(flights)
    dags = folder / "dags"
    shutil.copytree(stage.DAGS / "sql", dags / "sql")
    shutil.copy(stage.DAGS / f"{DAG_ID}.py", dags)
    with ExitStack() as stack:
        server = stack.enter_context(
            LocalServer(
                Options(
                    one_model=False,
                    consumer=True,
                    consumer_delay=0.1,
                    poll_size=5_000,
                    rows_per_minute=ROWS_PER_MINUTE,
                )
            )
        )
        for version in (stage.VERSION, stage.CHALLENGER):
            server.create_model(stage.MODEL, "regression", version=version, features=stage.FEATURES)
        environment = {
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(flights)}),
            "AIRFLOW_CONN_DEEPCHECKS_DEFAULT": server.connection_json,
            **celery_settings(redis_server),
        }
        airflow = Installation(postgres_server, folder / "airflow", dags, environment, "CeleryExecutor")
        stack.enter_context(airflow)
        for worker in ("worker-1", "worker-2"):
            start_worker(airflow, worker)
        last = warehouse.days(FIRST, DAYS)[-1]
        airflow.trigger(DAG_ID, {"first_day": f"{FIRST}", "last_day": f"{last}"})
        killed = _wait_until_busy(airflow, "worker-1")
        airflow.kill("worker-1")
        state = airflow.wait(DAG_ID, PATIENCE)
        counted = [warehouse.count(flights, day, date(2013, 12, 31)) for day in warehouse.days(FIRST, DAYS)]
        yield Backfill(state, airflow.tasks(DAG_ID), server, counted, killed, airflow.task_logs("log_"))


def test_the_run_finishes(backfill: Backfill) -> None:
    assert backfill.state == "success"
    assert {name: task.state for name, task in backfill.tasks.items()} == {
        ("days", -1): "success",
        ("log_predictions", 0): "success",
        ("log_predictions", 1): "success",
        **{("log_delays", day): "success" for day in range(DAYS)},
    }


def test_the_killed_task_was_tried_again(backfill: Backfill) -> None:
    assert backfill.tasks[backfill.killed].tries >= 2


def test_every_sample_is_in_once(backfill: Backfill) -> None:
    flights, departed = (sum(getattr(day, name) for day in backfill.days) for name in ("flights", "departed"))
    for index, (version, rows) in enumerate([(stage.VERSION, flights), (stage.CHALLENGER, departed)]):
        assert len(backfill.server.stored(stage.MODEL, version)) == rows
        receipt = backfill.tasks["log_predictions", index].result
        assert (receipt["version"], receipt["read"], receipt["stored"]) == (version, rows, rows)
        assert (receipt["refused"], receipt["quarantined"], receipt["waiting"]) == (0, 0, 0)
    assert backfill.server.errors(stage.MODEL) == []


def test_every_label_is_in(backfill: Backfill) -> None:
    labeled = [day.labeled for day in backfill.days]
    receipts = [backfill.tasks["log_delays", index].result for index in range(DAYS)]
    assert [receipt["read"] for receipt in receipts] == labeled
    assert [receipt["stored"] + receipt["already_stored"] for receipt in receipts] == labeled
    assert len(backfill.server.labels(stage.MODEL)) == sum(labeled)


def test_rate_limit_is_shared(backfill: Backfill) -> None:
    sent = [
        exchange for exchange in backfill.server.exchanges if exchange.path.endswith(("/data", "/labels"))
    ]
    cut = [exchange for exchange in sent if exchange.status == 413]
    # More rows than a minute takes, so somebody was cut; and nobody knocked at a closed door time and again.
    assert cut
    assert len(cut) <= 2 * len(backfill.tasks)
    # Waiting for the next minute is no failure.
    assert "is used up: waiting" in backfill.log
    assert "RateLimitError" not in backfill.log
