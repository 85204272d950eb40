# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Every night: send the labels that became known during the day, whenever their predictions were made.

A flight's delay is known when it has landed, hours after the prediction and sometimes on the next day. A
label belongs to the model: it reaches the sample in every version that holds it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator

with DAG(
    dag_id="log_flight_delays",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2013, 7, 1, tzinfo=UTC),
    end_date=datetime(2013, 7, 15, tzinfo=UTC),
    catchup=True,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    tags=["deepchecks", "example"],
) as dag:
    DeepchecksLogLabelsOperator(
        task_id="log_delays",
        model_name="Flight arrival delay",
        sql="sql/flight_delays.sql",
        sql_conn_id="warehouse",
        sql_parameters={"start": "{{ data_interval_start | ts }}", "end": "{{ data_interval_end | ts }}"},
        sample_id_column="sample_id",
        label_column="arr_delay",
        wait_for_ingestion=True,
        poll_interval=5,
    )
