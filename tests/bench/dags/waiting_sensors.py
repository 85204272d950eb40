# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A sensor for each model, in as many runs as are wanted; the plan comes from the benchmark.

Their tasks start in the triggerer: a worker would only look once and defer.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG
from airflow.triggers.base import StartTriggerArgs

from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor

PLAN = json.loads(os.environ["BENCH_SENSORS"])
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class SensorInTriggerer(DeepchecksPendingRowsSensor):
    """Deferred by the scheduler, with the arguments it would defer with itself."""

    start_from_trigger = True

    def __init__(self, *, trigger_kwargs: dict[str, object], **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow_provider_deepchecks.triggers.pending_rows.DeepchecksPendingRowsTrigger",
            next_method="execute_complete",
            trigger_kwargs=trigger_kwargs,
        )


with DAG(
    "waiting_sensors",
    schedule=DAY,
    start_date=FIRST,
    end_date=FIRST + (PLAN["runs"] - 1) * DAY,
    catchup=True,
    max_active_runs=PLAN["runs"],
) as dag:
    for number, arguments in enumerate(PLAN["triggers"]):
        SensorInTriggerer(task_id=f"sensor_{number}", receipt={}, deferrable=True, trigger_kwargs=arguments)
