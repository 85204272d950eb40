# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A label backfill mapped over files, on two Celery workers against one.

The server answers as slowly as a real one was seen to, so that the workers wait for it most of the time, as
they do in life. What each task takes besides, to start above all, needs the machine's cores.
"""

from __future__ import annotations

import inspect
import json
import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_deepchecks.local_server import Options, ServerProcess
from tests import services
from tests.celery.workers import celery_settings, start_worker
from tests.kill.installation import ROOT, Installation
from tests.kill.killing_proxy import KillingProxy

if TYPE_CHECKING:
    from tests.bench.results import Results

GOAL: Final = 1.8
PARTITIONS: Final = 6
#: Labels of a partition: 40 requests.
LABELS: Final = 80_000
#: Seconds in which the server takes a request of 2,000 labels (measured on server 0.19.3).
ANSWER_SECONDS: Final = 0.4
PATIENCE: Final = 1_200.0


def measure(results: Results, rows: int) -> None:
    """Benchmark 7."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-celery-")))
        for partition in range(PARTITIONS):
            ids = [f"sample {number}" for number in range(partition * LABELS, (partition + 1) * LABELS)]
            pq.write_table(pa.table({"id": ids, "y": [0.5] * LABELS}), folder / f"{partition:02d}.parquet")
        server = stack.enter_context(
            ServerProcess(Options(one_model=False, rows_per_minute=100 * PARTITIONS * LABELS))
        )
        server.create_model("backfill", "regression", features={"x": "numeric"})
        proxy = stack.enter_context(KillingProxy(server.url, (), 0, pace=ANSWER_SECONDS))
        connection = {"conn_type": "deepchecks", "host": proxy.url, "password": server.token}
        # Fixtures are generator functions in pytest's wrapping.
        postgres = stack.enter_context(contextmanager(inspect.unwrap(services.postgres_server))())
        redis = stack.enter_context(contextmanager(inspect.unwrap(services.redis_server))())
        environment = {
            "AIRFLOW_CONN_DEEPCHECKS_DEFAULT": json.dumps(connection),
            "BACKFILL_FOLDER": str(folder),
            # Nothing dies here: a slow heartbeat must not end a task.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
            "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "300",
            **celery_settings(redis),
        }
        dags = ROOT / "tests" / "celery" / "dags"
        airflow = stack.enter_context(
            Installation(postgres, folder / "airflow", dags, environment, "CeleryExecutor")
        )
        start_worker(airflow, "worker-1")
        _seconds(airflow, "warm-up", 1)
        one = _seconds(airflow, "one-worker", PARTITIONS)
        start_worker(airflow, "worker-2")
        # Both workers have then run a task.
        _seconds(airflow, "warm-up-of-two", 2)
        two = _seconds(airflow, "two-workers", PARTITIONS)
        sent = len({sample_id for request in proxy.sent for sample_id in request.ids})
    if sent != PARTITIONS * LABELS:
        raise RuntimeError(f"{sent} of {PARTITIONS * LABELS} labels were sent")
    waiting = LABELS / 2_000 * ANSWER_SECONDS
    results.ratio(
        "celery_speedup",
        one / two,
        goal=("at least", GOAL),
        note=f"{PARTITIONS} tasks: {one:.0f} s on one worker, {two:.0f} s on two; each waits {waiting:.0f} s "
        f"for the server. The rest starts Airflow's task process, and shares {os.cpu_count()} cores with "
        "scheduler, API server, PostgreSQL and the stand-in",
    )


def _seconds(airflow: Installation, run_id: str, partitions: int) -> float:
    """Run the backfill; from the start of its first upload to the end of its last."""
    airflow.trigger("backfill", {"partitions": partitions}, run_id)
    state = airflow.wait("backfill", PATIENCE)
    if state != "success":
        raise RuntimeError(f"{run_id} ended as {state}:\n{airflow.tail('scheduler')}")
    query = (
        "SELECT extract(epoch FROM max(end_date) - min(start_date)), count(*) FROM task_instance "
        "WHERE run_id = %s AND task_id = 'log_labels'"
    )
    ((seconds, count),) = airflow.query(query, run_id)
    if count != partitions:
        raise RuntimeError(f"{count} tasks ran instead of {partitions}")
    return float(seconds)
