# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The hook on its own in a task, through real Airflow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook
from tests.runs import run_dag

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.usefixtures("airflow_db")
def test_receipt_is_the_tasks_result_and_a_retry_sends_nothing_twice(deepchecks_server):
    deepchecks_server.create_model("m", "regression", features={"x": "numeric"})

    with DAG("hook_in_a_task", schedule=None, start_date=START) as dag:

        @task(retries=1, retry_delay=timedelta(seconds=0))
        def predict(ti=None):
            count = 2 if ti.try_number == 1 else 4
            times = [START + timedelta(seconds=n) for n in range(count)]
            receipt = DeepchecksHook().log_batch(
                [f"s{n}" for n in range(count)],
                {"x": range(count)},
                range(count),
                None,
                times,
                model_name="m",
                model_version="v1",
            )
            if ti.try_number == 1:
                raise RuntimeError("the worker has a bad day")
            return receipt

        predict()

    ran = run_dag(dag)
    assert ran.state == "success"
    receipt = ran.results["predict"]
    assert (receipt["read"], receipt["already_stored"], receipt["waiting"]) == (4, 2, 2)
    assert list(deepchecks_server.stored("m", "v1")) == ["s0", "s1", "s2", "s3"]
    assert DeepchecksHook().get_ingestion_errors("m") == []
