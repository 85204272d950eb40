# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Many workers: an upload mapped over model versions, and a label backfill mapped over days.

Each version is one task, since Deepchecks wants the samples of a version in the order of their times; the
versions go side by side. Labels have no order, so every day of departures is a task of its own, on whatever
worker is free. Each proves its own window of time, which no other task writes to.

All of them share the organisation's rate limit. Whoever finds it used up waits for the server's next minute,
so more tasks than the limit feeds only wait: ``max_active_tis_per_dagrun`` bounds them.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator

MODEL = "Flight arrival delay"
#: Version -> the query that gives its predictions.
VERSIONS = {
    "2013 first half": "sql/flight_predictions.sql",
    "as late as it left": "sql/challenger_predictions.sql",
}


@dag(
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2013, 7, 1, tzinfo=UTC),
    max_active_runs=1,
    default_args={"retries": 4, "retry_delay": timedelta(seconds=10)},
    params={
        "first_day": Param("2013-07-01", type="string", format="date"),
        "last_day": Param("2013-07-14", type="string", format="date"),
    },
    tags=["deepchecks", "example"],
)
def flights_mapped() -> None:
    log_predictions = DeepchecksLogBatchOperator.partial(
        task_id="log_predictions",
        model_name=MODEL,
        sql_conn_id="warehouse",
        sql_parameters={
            "start": "{{ params.first_day }}",
            "end": "{{ macros.ds_add(params.last_day, 1) }}",
        },
        sample_id_column="sample_id",
        timestamp_column="scheduled_departure",
        prediction_column="predicted_arr_delay",
        wait_for_ingestion=True,
        poll_interval=5,
    ).expand_kwargs([{"model_version": version, "sql": sql} for version, sql in VERSIONS.items()])

    @task
    def days(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """One partition a day: what to read, and the window that its samples are in."""
        assert params is not None
        day, last = date.fromisoformat(params["first_day"]), date.fromisoformat(params["last_day"])
        partitions = []
        while day <= last:
            partitions.append(
                {
                    "sql_parameters": {"start": f"{day}", "end": f"{day + timedelta(days=1)}"},
                    "window_start": f"{day}T00:00:00+00:00",
                    "window_end": f"{day}T23:59:59.999999+00:00",
                }
            )
            day += timedelta(days=1)
        return partitions

    log_delays = DeepchecksLogLabelsOperator.partial(
        task_id="log_delays",
        model_name=MODEL,
        sql="sql/flight_delays_by_departure.sql",
        sql_conn_id="warehouse",
        sample_id_column="sample_id",
        label_column="arr_delay",
        wait_for_ingestion=True,
        poll_interval=5,
        max_active_tis_per_dagrun=4,
    ).expand_kwargs(days())

    log_predictions >> log_delays


flights_mapped_dag = flights_mapped()
