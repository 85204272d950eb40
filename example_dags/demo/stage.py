# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the example DAGs need around them: Airflow's settings, the connections, a server, the model on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from example_dags.demo import warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_deepchecks.client.api import DeepchecksClient

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "example_dags"

MODEL = "Flight arrival delay"
#: The model's version, and the challenger's.
VERSION, CHALLENGER = "2013 first half", "as late as it left"
FEATURES = {
    "carrier": "categorical",
    "origin": "categorical",
    "dest": "categorical",
    "distance": "integer",
    "hour": "integer",
    "weekday": "integer",
    "dep_delay": "numeric",
    "temp": "numeric",
    "wind_speed": "numeric",
    "precip": "numeric",
    "visib": "numeric",
}


def set_up(home: Path) -> Path:
    """Make an empty AIRFLOW_HOME and load the warehouse; call it before Airflow is imported.

    :param home: directory that is emptied.
    :return: the warehouse's file.
    """
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    flights = home / "flights.db"
    warehouse.load(flights)
    # Another Airflow's settings must not apply here; its connections may, Deepchecks' above all.
    for name in [name for name in os.environ if name.startswith("AIRFLOW__")]:
        del os.environ[name]

    def with_first(path: Path, variable: str) -> str:
        return os.pathsep.join(filter(None, (str(path), os.environ.get(variable))))

    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(flights)}),
        "FLIGHTS_FOLDER": str(home),
        "PYTHONPATH": with_first(ROOT, "PYTHONPATH"),
        # Airflow starts its parts by the command's name.
        "PATH": with_first(Path(sys.executable).parent, "PATH"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return flights


def migrate(log: Path) -> None:
    """Make Airflow's database.

    :raises SystemExit: Airflow could not; the message names the log.
    """
    with log.open("ab") as output:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        done = subprocess.run(command, check=False, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"Airflow could not make its database: see {log}")


@contextmanager
def deepchecks(port: int = 0) -> Iterator[str]:
    """The server that AIRFLOW_CONN_DEEPCHECKS_DEFAULT names; where it names none, a stand-in meanwhile.

    :param port: port of the stand-in, 0 for any free one.
    :return: the server, in words.
    """
    if os.environ.get("AIRFLOW_CONN_DEEPCHECKS_DEFAULT"):
        yield "the server of AIRFLOW_CONN_DEEPCHECKS_DEFAULT"
        return
    from airflow_provider_deepchecks.local_server.options import Options
    from airflow_provider_deepchecks.local_server.server import ServerProcess

    # With a consumer, as large installations have: uploads are queued and stored a little later.
    with ServerProcess(Options(consumer=True), port=port) as server:
        os.environ["AIRFLOW_CONN_DEEPCHECKS_DEFAULT"] = server.connection_json
        try:
            yield f"a stand-in Deepchecks at {server.url}"
        finally:
            del os.environ["AIRFLOW_CONN_DEEPCHECKS_DEFAULT"]


def create_model(client: DeepchecksClient) -> dict[str, int]:
    """Create the model and its two versions, or find them.

    :return: version -> id.
    """
    model_id = client.create_model(MODEL, "regression", alerts_delay_labels_ratio=0.9)
    return {name: client.create_version(model_id, name, features=FEATURES) for name in (VERSION, CHALLENGER)}
