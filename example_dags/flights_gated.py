# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A challenger beside the model, and a task that runs only when its samples are in.

The challenger predicts that a flight arrives as late as it left. A task writes its predictions of the day to
a file, the operator sends them to a version of their own, a deferrable sensor waits, without a worker slot,
until Deepchecks holds every one of them, and only then the last task reads what Deepchecks has.
"""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import BaseHook, dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook
from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor

MODEL = "Flight arrival delay"
VERSION = "as late as it left"


@dag(
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2013, 7, 1, tzinfo=UTC),
    end_date=datetime(2013, 7, 14, tzinfo=UTC),
    catchup=True,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    tags=["deepchecks", "example"],
)
def flights_gated() -> None:
    @task
    def predict(
        data_interval_start: datetime | None = None, data_interval_end: datetime | None = None
    ) -> str:
        """Write the challenger's predictions of the interval; return the file's path, not the rows."""
        import pandas as pd

        assert data_interval_start is not None
        assert data_interval_end is not None
        flights = (
            BaseHook.get_connection("warehouse")
            .get_hook()
            .get_df(
                "SELECT * FROM flight_predictions"
                " WHERE scheduled_departure >= :start AND scheduled_departure < :end",
                parameters={"start": data_interval_start.isoformat(), "end": data_interval_end.isoformat()},
            )
        )
        # A flight that never left has no delay to predict from.
        flights = flights.dropna(subset=["dep_delay"])
        flights["scheduled_departure"] = pd.to_datetime(flights["scheduled_departure"], utc=True)
        flights["predicted_arr_delay"] = flights["dep_delay"]
        # Workers on several machines need a folder that all of them see, or object storage.
        folder = os.environ.get("FLIGHTS_FOLDER", tempfile.gettempdir())
        path = os.path.join(folder, f"flights_gated_{data_interval_start:%Y-%m-%d}.parquet")
        flights.to_parquet(path, index=False)
        return path

    log_predictions = DeepchecksLogBatchOperator(
        task_id="log_predictions",
        model_name=MODEL,
        model_version=VERSION,
        data=predict(),
        sample_id_column="sample_id",
        timestamp_column="scheduled_departure",
        prediction_column="predicted_arr_delay",
    )

    wait_for_samples = DeepchecksPendingRowsSensor(
        task_id="wait_for_samples",
        receipt=log_predictions.output,
        deferrable=True,
        poke_interval=5,
        timeout=15 * 60,
    )

    @task
    def report(settled: dict[str, Any]) -> str:
        """Use what is in Deepchecks now: here, only say so."""
        status = DeepchecksHook().get_ingestion_status(MODEL, VERSION)
        told = (
            f"{settled['stored']} flights of this day stored; {VERSION!r} holds {status.samples} flights, "
            f"{status.labeled} with a label."
        )
        print(told)
        return told

    report(wait_for_samples.output)


flights_gated_dag = flights_gated()
