# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Every night: send the day's predictions from the warehouse to Deepchecks.

The task is green when every row of the interval is stored in Deepchecks, or named with its reason.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator

with DAG(
    dag_id="log_flight_predictions",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2013, 7, 1, tzinfo=UTC),
    end_date=datetime(2013, 7, 14, tzinfo=UTC),
    catchup=True,
    # One day after the other: Deepchecks wants the samples of a version in the order of their times.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    tags=["deepchecks", "example"],
) as dag:
    DeepchecksLogBatchOperator(
        task_id="log_predictions",
        model_name="Flight arrival delay",
        model_version="2013 first half",
        sql="sql/flight_predictions.sql",
        sql_conn_id="warehouse",
        sql_parameters={"start": "{{ data_interval_start | ts }}", "end": "{{ data_interval_end | ts }}"},
        sample_id_column="sample_id",
        timestamp_column="scheduled_departure",
        prediction_column="predicted_arr_delay",
        wait_for_ingestion=True,
        poll_interval=5,
    )
