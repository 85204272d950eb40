# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""One whole upload by the operator in a DAG, in a process of its own whose memory is looked at.

``python -m tests.bench.upload '{"url": ..., "token": ..., "source": {...}}'`` prints a JSON object: peak
memory in MiB, seconds, and the receipt.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

from tests.bench.rows import MODEL, VERSION


def upload(source: dict[str, Any]) -> dict[str, Any]:
    """Run the DAG; the receipt of its one task."""
    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
    from tests.runs import DAY, run_dag

    with DAG("bench", start_date=DAY, schedule=None, catchup=False) as dag:
        DeepchecksLogBatchOperator(
            task_id="upload",
            model_name=MODEL,
            model_version=VERSION,
            sample_id_column="id",
            timestamp_column="time",
            prediction_column="prediction",
            timezone="UTC",
            **source,
        )
    ran = run_dag(dag)
    if ran.state != "success":
        raise RuntimeError(f"the upload ended as {ran.states}")
    receipt: dict[str, Any] = ran.results["upload"]
    return receipt


def main() -> None:
    job = json.loads(sys.argv[1])
    connection = {"conn_type": "deepchecks", "host": job["url"], "password": job["token"]}
    os.environ["AIRFLOW_CONN_DEEPCHECKS_DEFAULT"] = json.dumps(connection)
    # What Airflow prints is not for the one who reads the numbers.
    answers, sys.stdout = sys.stdout, sys.stderr
    start = time.perf_counter()
    receipt = upload(job["source"])
    seconds = time.perf_counter() - start
    # Airflow may run the task in a child.
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"peak_mib": peak / 1024, "seconds": seconds, "receipt": receipt}), file=answers)


if __name__ == "__main__":
    main()
