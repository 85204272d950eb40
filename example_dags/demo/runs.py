# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Running one example DAG for one day through Airflow, and reading what it left behind."""

from __future__ import annotations

import inspect
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: DAG, and the module in which it stands -> the task whose result is the run's last receipt.
RECEIPTS = {
    "log_flight_predictions": "log_predictions",
    "flights_gated": "wait_for_samples",
    "log_flight_delays": "log_delays",
}


@dataclass(frozen=True)
class Run:
    """One finished run.

    :param state: ``success`` or ``failed``.
    :param receipt: the last receipt, empty when the run has none.
    :param seconds: duration.
    """

    state: str
    receipt: Mapping[str, Any]
    seconds: float


def run_day(dag_id: str, day: date, log: Path) -> Run:
    """Run a DAG for the data interval of one day, UTC: all its tasks, retries aside, and its triggers too.

    :param log: file to which Airflow's and the tasks' output is appended.
    """
    started = time.monotonic()
    with _output_to(log):
        from airflow.providers.common.compat.sdk import DAG

        module = import_module(f"example_dags.{dag_id}")
        (dag,) = (value for value in vars(module).values() if isinstance(value, DAG))
        # A run by hand covers the interval that is over at its date: for the last one, after the DAG's end.
        for limited in (dag, *dag.tasks):
            limited.end_date = None
        interval_end = datetime.combine(day + timedelta(days=1), clock.min, tzinfo=UTC)
        # Airflow 3 renamed the argument.
        renamed = "logical_date" in inspect.signature(dag.test).parameters
        date_argument: dict[str, Any] = {"logical_date" if renamed else "execution_date": interval_end}
        dag_run = dag.test(**date_argument)
        task_instance = dag_run.get_task_instance(RECEIPTS[dag_id])
        receipt = task_instance.xcom_pull(task_ids=RECEIPTS[dag_id])
    return Run(str(getattr(dag_run.state, "value", dag_run.state)), receipt or {}, time.monotonic() - started)


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send everything that is printed to a file, by this process and by those it starts."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, original in zip((1, 2), kept, strict=True):
            os.dup2(original, number)
            os.close(original)
        os.close(file)
