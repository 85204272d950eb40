# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Everything that handles the token, through real Airflow, in a process whose every word is kept.

``python -m tests.canary.drive good conn ...``: the connection that works and those that do not. Airflow hides
a connection's password from its logs by itself; that is switched off here, for what the package lets slip
must be seen.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseHook, task

from airflow_provider_deepchecks.exceptions import DeepchecksError
from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook
from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator
from airflow_provider_deepchecks.sensors.label_coverage import DeepchecksLabelCoverageSensor
from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor
from tests.runs import run_dag

START = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = "canary"
#: So many of the connections that do not work have sensors too.
WATCHED = 4


def rows(prefix: str, start: datetime) -> list[dict[str, Any]]:
    return [
        {"id": f"{prefix}{n}", "time": start + timedelta(seconds=n), "p": 1.0, "x": 0.5, "y": 2.0}
        for n in range(5)
    ]


ROWS = rows("s", START)
OTHER_ROWS = rows("other", START - timedelta(hours=1))


def switch_off_masking() -> None:
    """Let Airflow mask nothing, in each of its copies of the masker."""
    switched = 0
    for module in list(sys.modules.values()):
        masker = getattr(module, "SecretsMasker", None)
        if isinstance(masker, type):
            masker.add_mask = lambda self, *args, **kwargs: None  # type: ignore[attr-defined]
            switched += 1
    assert switched, "Airflow's masker was not found"


def tell(context: Any) -> None:
    """Print an error with everything it holds."""
    error = context["exception"]
    print("".join(traceback.format_exception(error)))
    while error is not None:
        print(repr(error), error.args, vars(error) if isinstance(error, DeepchecksError) else "")
        error = error.__cause__ or error.__context__


def upload(task_id: str, **settings: Any) -> DeepchecksLogBatchOperator:
    return DeepchecksLogBatchOperator(
        task_id=task_id,
        **{
            "model_name": MODEL,
            "model_version": "v1",
            "data": ROWS,
            "sample_id_column": "id",
            "timestamp_column": "time",
            "prediction_column": "p",
            "label_column": "y",
            "on_late_rows": "send",
            **settings,
        },
    )


@task
def control() -> None:
    """What this process must not hide, or the search proves nothing."""
    print(f"seen: {BaseHook.get_connection('control').password}")


@task
def use_hooks(conn_ids: list[str]) -> list[str]:
    """All that hooks show of themselves, whether they work or not."""
    said = []
    for conn_id in conn_ids:
        hook = DeepchecksHook(conn_id)
        said += [repr(hook), str(vars(hook)), repr(hook.test_connection())]
        try:
            client = hook.get_conn()
            said += [repr(client), str(client), repr(client.settings), repr(hook.connection_settings)]
            said.append(repr(hook.get_ingestion_status(MODEL, "v1")))
            said.append(repr(list(hook.get_ingestion_errors(MODEL))))
            said.append(repr(hook.log_label("elsewhere", 3.0, model_name=MODEL)))
        except DeepchecksError:
            said.append(traceback.format_exc())
    print("\n".join(said))
    return said


def build(good: str, others: list[str]) -> DAG:
    with DAG(
        "canary",
        schedule=None,
        start_date=START,
        default_args={"on_failure_callback": tell, "on_retry_callback": tell},
    ) as dag:
        control()
        sent = upload("sent", deepchecks_conn_id=good, on_late_rows="fail")
        settle = {"receipt": sent.output, "deepchecks_conn_id": good, "poke_interval": 0.2, "timeout": 60}
        after = [
            DeepchecksPendingRowsSensor(task_id="poke", **settle),
            DeepchecksPendingRowsSensor(task_id="reschedule", mode="reschedule", **settle),
            DeepchecksPendingRowsSensor(task_id="defer", deferrable=True, **settle),
            DeepchecksLabelCoverageSensor(
                task_id="coverage",
                model_name=MODEL,
                window_end="2026-01-02T00:00:00+00:00",
                ratio=1.0,
                deepchecks_conn_id=good,
                deferrable=True,
                poke_interval=0.2,
                timeout=60,
            ),
            DeepchecksLogLabelsOperator(
                task_id="labels",
                model_name=MODEL,
                data=ROWS,
                sample_id_column="id",
                label_column="y",
                deepchecks_conn_id=good,
            ),
            upload(
                "again", deepchecks_conn_id=good, wait_for_ingestion=True, deferrable=True, poll_interval=0.2
            ),
            upload("checked", deepchecks_conn_id=good, dry_run=True),
            upload("bad_rows", deepchecks_conn_id=good, data=[{**ROWS[0], "x": "text"}]),
            upload("wrong_columns", deepchecks_conn_id=good, prediction_column="nothing"),
            upload("wrong_model", deepchecks_conn_id=good, model_name="nothing"),
            use_hooks([good, *others]),
        ]
        sent >> after
        for conn in others:
            # Some reach the same server. Rows of their own: in one window with those of "sent", counts could
            # not tell whose are in.
            upload(f"{conn}.sent", deepchecks_conn_id=conn, data=OTHER_ROWS)
        for conn in others[:WATCHED]:
            watching = {
                "model_name": MODEL,
                "deepchecks_conn_id": conn,
                "poke_interval": 0.1,
                "quiet_polls": 1,
                "timeout": 20,
            }
            DeepchecksPendingRowsSensor(task_id=f"{conn}.poke", **watching)
            DeepchecksPendingRowsSensor(task_id=f"{conn}.defer", deferrable=True, **watching)
    return dag


def main() -> None:
    good, *others = sys.argv[1:]
    switch_off_masking()
    # Not Airflow's own: at this level it logs what it hands to the task, connections included.
    for name in ("airflow_provider_deepchecks", "urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    ran = run_dag(build(good, others))
    for name, state in ran.states.items():
        print(f"STATE {name} {state}")
    print(ran)


if __name__ == "__main__":
    main()
