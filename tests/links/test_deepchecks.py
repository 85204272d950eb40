# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.links.deepchecks import DeepchecksModelLink, model_url

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DAG = """
from datetime import datetime
from airflow.providers.common.compat.sdk import DAG, BaseOperator
from airflow_provider_deepchecks.links.deepchecks import DeepchecksModelLink

class Linked(BaseOperator):
    operator_extra_links = (DeepchecksModelLink(),)
    def execute(self, context):
        DeepchecksModelLink.persist(context, "https://dc.example.com/prefix", 7)

class Early(Linked):
    def execute(self, context):
        pass

with DAG("linked", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    Linked(task_id="linked") >> Early(task_id="early")
"""

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from linked import dag
dag.test()
"""


def test_address():
    assert model_url("https://dc.example.com", 3) == "https://dc.example.com/dashboard?modelId=3"
    assert DeepchecksModelLink().name == "Deepchecks model"


def test_link_of_tasks_that_ran(fresh_airflow_db: Path, airflow_home: Path, monkeypatch: pytest.MonkeyPatch):
    dag_file = airflow_home / "dags/linked.py"
    dag_file.write_text(DAG)
    try:
        command = [sys.executable, "-c", RUN, str(dag_file.parent)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    finally:
        dag_file.unlink()
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(fresh_airflow_db) as database:
        query = "SELECT task_id, value FROM xcom WHERE key = 'deepchecks_model_url'"
        links = {task: json.loads(value) for task, value in database.execute(query)}
    # The early task never knew its model: an empty address shows no button.
    assert links.pop("early", "") == ""
    assert links == {"linked": "https://dc.example.com/prefix/dashboard?modelId=7"}


def test_link_is_read_from_the_task(monkeypatch: pytest.MonkeyPatch):
    class Stored:
        """What tasks have kept, by key and task."""

        @staticmethod
        def get_value(*, key: str, ti_key: str) -> str | None:
            return {("deepchecks_model_url", "known"): "https://dc.example.com/"}.get((key, ti_key))

    monkeypatch.setattr("airflow_provider_deepchecks.links.deepchecks.XCom", Stored)
    link = DeepchecksModelLink()
    assert link.get_link(None, ti_key="known") == "https://dc.example.com/"
    assert link.get_link(None, ti_key="unknown") == ""
