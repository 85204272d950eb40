# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""All ways to wait in a triggerer, for rows and labels that the test holds back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.sensors.label_coverage import DeepchecksLabelCoverageSensor
from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor

ROWS: dict[str, Any] = {
    "model_version": "v1",
    "sample_id_column": "id",
    "timestamp_column": "t",
    "prediction_column": "p",
}


def rows(count: int, newest: datetime) -> list[dict[str, Any]]:
    """Rows an hour apart, the last one at ``newest``."""
    return [
        {
            "id": f"s{number:02d}",
            "t": (newest - timedelta(hours=count - 1 - number)).isoformat(),
            "p": 1.0,
            "x": 2.0,
        }
        for number in range(count)
    ]


with DAG(
    "waiting",
    schedule="@once",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"deferrable": True, "poke_interval": 1, "poll_interval": 1, "retries": 0},
) as dag:
    # The last of these rows is of the future when the server's clock is put back before it is stored.
    upload = DeepchecksLogBatchOperator(
        task_id="upload", model_name="young", data=lambda: rows(10, datetime.now(UTC)), **ROWS
    )
    DeepchecksPendingRowsSensor(task_id="one_refused", receipt=upload.output, max_refused=1)
    DeepchecksPendingRowsSensor(task_id="none_refused", receipt=upload.output)
    DeepchecksPendingRowsSensor(task_id="impatient", receipt=upload.output, timeout=3)

    DeepchecksLogBatchOperator(
        task_id="upload_and_wait",
        model_name="old",
        data=lambda: rows(10, datetime(2026, 1, 2, tzinfo=UTC)),
        wait_for_ingestion=True,
        **ROWS,
    )
    DeepchecksLabelCoverageSensor(
        task_id="labels", model_name="labelled", ratio=0.5, deadline="2100-01-01T00:00:00Z"
    )
