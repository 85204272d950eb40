# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The README's first DAG does what it says, on real Airflow and from a real PostgreSQL; no parameter is left
untold."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pyarrow.parquet as pq
import pytest

from airflow_provider_deepchecks.operators.base import UploadOperator
from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator
from airflow_provider_deepchecks.sensors.base import WatchSensor
from airflow_provider_deepchecks.sensors.label_coverage import DeepchecksLabelCoverageSensor
from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor
from tests.runs import DAY, new_dag, run_dag

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server.server import LocalServer
    from tests.services import Service

README = (Path(__file__).parents[1] / "README.md").read_text()
FIRST_DAG, NEW_MODEL, FIRST_TEST = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def fill_warehouse(service: Service, days: list[datetime]) -> None:
    """A hundred predictions on each day."""
    with psycopg2.connect(f"postgresql://{service.login}") as connection:
        cursor = connection.cursor()
        cursor.execute("DROP TABLE IF EXISTS predictions")
        cursor.execute(
            "CREATE TABLE predictions (customer_id text, predicted_at timestamptz, churn text, age int)"
        )
        cursor.executemany(
            "INSERT INTO predictions VALUES (%s, %s, %s, %s)",
            [
                (f"{day:%d}-{number}", day + timedelta(minutes=14 * number), "yes", number)
                for day in days
                for number in range(100)
            ],
        )
    connection.close()


def test_first_dag(
    deepchecks_server: LocalServer,
    airflow_db: object,
    postgres_server: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"postgresql://{postgres_server.login}")
    fill_warehouse(postgres_server, [DAY - timedelta(days=1), DAY])
    made: dict[str, Any] = {}
    exec(FIRST_DAG, made)
    exec(NEW_MODEL, {})
    # The README's own test finds the model, and its comment stands for this.
    ran: dict[str, Any] = {}
    test = FIRST_TEST.replace("...  # run the DAG", "ran.update(run=run())")
    assert test != FIRST_TEST
    exec(test, scope := {"ran": ran, "run": lambda: run_dag(made["upload"].dag)})
    scope["test_my_dag"](deepchecks_server)
    assert ran["run"].state == "success"
    receipt = ran["run"].results["all_rows_are_in"]
    assert (receipt["read"], receipt["stored"], receipt["waiting"]) == (100, 100, 0)
    assert datetime.fromisoformat(receipt["window_start"]).astimezone(UTC) == DAY - timedelta(days=1)


def test_corrected_quarantine_can_be_sent(
    deepchecks_server: LocalServer, airflow_db: object, tmp_path: Path
) -> None:
    (keyword,) = re.findall(r"`data=` that file,\n +with `(\w+=\"\w+\")`", README)
    name, _, value = keyword.partition("=")
    deepchecks_server.create_model("m", "regression", features={})
    rows = [
        {"id": f"s{number}", "t": (DAY + timedelta(seconds=number)).isoformat(), "p": 1.0}
        for number in range(5)
    ]
    rows[1]["p"] = None
    columns = {"sample_id_column": "id", "timestamp_column": "t", "prediction_column": "p"}
    bad, mended = tmp_path / "bad.parquet", tmp_path / "mended.parquet"

    def correct() -> str:
        read = pq.read_table(bad)
        pq.write_table(read.set_column(read.column_names.index("p"), "p", [[2.0]]), mended)
        return str(mended)

    with new_dag() as dag:
        first = DeepchecksLogBatchOperator(
            task_id="first",
            model_name="m",
            model_version="v1",
            data=rows,
            on_invalid_rows="quarantine",
            quarantine_path=str(bad),
            **columns,
        )
        again = DeepchecksLogBatchOperator(
            task_id="again",
            model_name="m",
            model_version="v1",
            data=correct,
            **{name: value.strip('"')},
            **columns,
        )
        first >> again
    ran = run_dag(dag)
    assert (ran.results["first"]["quarantined"], ran.results["again"]["sent"]) == (1, 1), ran.errors
    assert deepchecks_server.stored("m", "v1")["s1"]["_dc_prediction"] == 2.0


@pytest.mark.parametrize(
    ("kind", "base", "heading", "end"),
    [
        (DeepchecksLogBatchOperator, UploadOperator, "### DeepchecksLogBatchOperator", "### "),
        (DeepchecksLogLabelsOperator, None, "### DeepchecksLogLabelsOperator", "## "),
        (DeepchecksPendingRowsSensor, WatchSensor, "## Sensors", "## "),
        (DeepchecksLabelCoverageSensor, WatchSensor, "## Sensors", "## "),
    ],
)
def test_every_parameter_is_told(kind: Any, base: Any, heading: str, end: str) -> None:
    section = README.partition(f"{heading}\n")[2].partition(f"\n{end}")[0]
    parameters = {
        name
        for cls in (kind, base)
        if cls is not None
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if name != "self" and parameter.kind is parameter.KEYWORD_ONLY
    }
    assert parameters
    in_code = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]*`", section))))
    assert parameters - in_code == set()
    told = dict(re.findall(r":param (\w+):(.*?)(?=:param|:raises|$)", kind.__doc__, re.DOTALL))
    assert told.keys() == parameters
    assert {name for name in parameters if "(templated)" in told[name]} == parameters & {
        *kind.template_fields
    }
