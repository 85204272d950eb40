# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A label backfill mapped over the files of a folder, the first ``partitions`` of them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator

with DAG(
    "backfill",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"partitions": 1},
) as dag:

    @task
    def files(params: dict[str, Any] | None = None) -> list[str]:
        assert params is not None
        return sorted(map(str, Path(os.environ["BACKFILL_FOLDER"]).glob("*.parquet")))[: params["partitions"]]

    DeepchecksLogLabelsOperator.partial(
        task_id="log_labels", model_name="backfill", sample_id_column="id", label_column="y"
    ).expand(data=files())
