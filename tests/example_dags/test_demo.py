# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The demo as people run it: real Airflow, all three DAGs, a server over HTTP, every row counted."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from example_dags.demo import stage, warehouse

if TYPE_CHECKING:
    import pytest

    from airflow_provider_deepchecks.local_server.server import CreatedVersion, LocalServer

ROOT = Path(__file__).parents[2]


#: The demo for the last day of the data alone, and one DAG.
LAST_DAY = """
import sys
from datetime import date
from example_dags.demo import __main__ as demo, runs
demo.FIRST_DAY = date(2013, 7, demo.MOST_DAYS)
for dag_id in ("flights_gated", "log_flight_delays"):
    del runs.RECEIPTS[dag_id]
sys.exit(demo.main())
"""


def demo(
    home: Path,
    *,
    days: int,
    connection: str | None = None,
    how: tuple[str, ...] = ("-m", "example_dags.demo"),
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    if connection is not None:
        environment["AIRFLOW_CONN_DEEPCHECKS_DEFAULT"] = connection
    return subprocess.run(
        [sys.executable, *how, "--days", str(days), "--home", str(home)],
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
        cwd=ROOT,
        env=environment,
    )


def cells(output: str, dag_id: str) -> list[list[str]]:
    """The table's rows of one DAG, without the progress that is printed before it."""
    table = output[output.index("----") :]
    return [line.split() for line in table.splitlines() if line.startswith(f"{dag_id} ")]


def test_demo_accounts_for_every_row(tmp_path: Path) -> None:
    done = demo(tmp_path / "home", days=2)
    assert done.returncode == 0, done.stdout + done.stderr
    predictions = cells(done.stdout, "log_flight_predictions")
    challenger = cells(done.stdout, "flights_gated")
    delays = cells(done.stdout, "log_flight_delays")
    # day, read, stored, before, refused, kept out: the numbers of the README beside the data.
    assert [row[1:7] for row in predictions] == [
        ["2013-07-01", "980", "980", "0", "0", "0"],
        ["2013-07-02", "945", "945", "0", "0", "0"],
    ]
    assert [row[1:7] for row in challenger] == [
        ["2013-07-01", "888", "888", "0", "0", "0"],
        ["2013-07-02", "917", "917", "0", "0", "0"],
    ]
    assert [row[1:7] for row in delays] == [
        ["2013-07-01", "650", "650", "0", "0", "0"],
        ["2013-07-02", "954", "954", "0", "0", "0"],
    ]
    assert "3,730 samples and 1,604 labels read, 0 of them named" in done.stdout
    assert json.dumps(stand_in_token())[1:-1] not in done.stdout + (tmp_path / "home/airflow.log").read_text()


def test_the_last_day_can_be_run(tmp_path: Path) -> None:
    """Its run by hand is of the day after, when the DAG has ended."""
    done = demo(tmp_path / "home", days=1, how=("-c", LAST_DAY))
    assert "log_flight_predictions 2013-07-14: success" in done.stdout, done.stdout + done.stderr
    (row,) = cells(done.stdout, "log_flight_predictions")
    assert row[1] == "2013-07-14"
    assert row[2] == row[3] != "0"


def stand_in_token() -> str:
    from airflow_provider_deepchecks.local_server.options import DEFAULT_TOKEN

    return DEFAULT_TOKEN


def flight_model(server: LocalServer) -> CreatedVersion:
    """The demo's model, as the demo makes it."""
    return server.create_model(
        stage.MODEL,
        "regression",
        version=stage.VERSION,
        features=stage.FEATURES,
        alerts_delay_labels_ratio=0.9,
    )


def test_demo_finds_a_row_that_does_not_belong(tmp_path: Path, deepchecks_server: LocalServer) -> None:
    """A server that the connection names is used, and a row too many on it is a fault."""
    model = flight_model(deepchecks_server)
    stranger: dict[str, Any] = {
        "_dc_sample_id": "not in the warehouse",
        "_dc_time": "2013-07-01T00:00:00+00:00",
        "_dc_prediction": 0.0,
        **dict.fromkeys(stage.FEATURES),
    }
    deepchecks_server.call("POST", f"/model-versions/{model.id}/data", [stranger])
    done = demo(tmp_path / "home", days=1, connection=deepchecks_server.connection_json)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Deepchecks has 981 rows, the warehouse 980" in done.stdout
    assert len(deepchecks_server.stored(stage.MODEL, stage.VERSION)) == 981


def test_demo_can_be_run_again_on_a_server(tmp_path: Path, deepchecks_server: LocalServer) -> None:
    """Labels that became known after a day are there already when the day is run again."""
    model = flight_model(deepchecks_server)
    flights = tmp_path / "flights.db"
    warehouse.load(flights)
    with closing(sqlite3.connect(flights)) as database:
        database.row_factory = sqlite3.Row
        rows = database.execute(
            "SELECT sample_id AS _dc_sample_id, scheduled_departure AS _dc_time,"
            f" predicted_arr_delay AS _dc_prediction, {', '.join(stage.FEATURES)} FROM flight_predictions"
            " WHERE scheduled_departure < '2013-07-02'"
        ).fetchall()
        labels = database.execute(
            "SELECT sample_id AS _dc_sample_id, arr_delay AS _dc_label FROM flight_arrivals"
            " WHERE arrived_at < '2013-07-04'"
        ).fetchall()
    deepchecks_server.call("POST", f"/model-versions/{model.id}/data", [dict(row) for row in rows])
    deepchecks_server.call("PUT", f"/model/{model.model_id}/labels", [dict(row) for row in labels])
    done = demo(tmp_path / "home", days=1, connection=deepchecks_server.connection_json)
    assert done.returncode == 0, done.stdout + done.stderr
    (predictions,) = cells(done.stdout, "log_flight_predictions")
    assert predictions[1:5] == ["2013-07-01", "980", "0", "980"]


def test_an_empty_connection_names_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for Airflow."""
    monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", "")
    with stage.deepchecks() as server:
        assert server.startswith("a stand-in")


def test_airflow_finds_the_dags_and_nothing_else(tmp_path: Path) -> None:
    """The scheduler's view of the folder: the data's script and the demo are no DAG files."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    code = (
        "import json\n"
        "from airflow.models import DagBag\n"
        "bag = DagBag()\n"
        "print(json.dumps([sorted(bag.dags), bag.import_errors]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    dags, errors = json.loads(done.stdout.splitlines()[-1])
    assert errors == {}
    assert dags == ["flights_gated", "flights_mapped", "log_flight_delays", "log_flight_predictions"]
