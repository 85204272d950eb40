# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""One task a case; the cases come from the test. Nothing in here knows that workers die."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator

with DAG(
    "killed_uploads",
    schedule="@once",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={
        "retries": 8,
        "retry_delay": timedelta(seconds=0),
        "wait_for_ingestion": True,
        "poll_interval": 0.5,
    },
) as dag:
    for case in json.loads(os.environ["KILL_CASES"]):
        shared = {
            "task_id": case["name"],
            "model_name": case["name"],
            "data": case["data"],
            "sample_id_column": "id",
            "durable": case["durable"],
            "checkpoint_path": case["checkpoint_path"],
            "deepchecks_conn_id": case["name"],
        }
        if case["labels"]:
            DeepchecksLogLabelsOperator(**shared, label_column="y", labels_per_send=case["per_send"])
        else:
            DeepchecksLogBatchOperator(
                **shared,
                model_version="v1",
                timestamp_column="time",
                prediction_column="y",
                samples_per_send=case["per_send"],
            )
