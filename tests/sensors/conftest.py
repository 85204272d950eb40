# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the tests of the sensors share: the three modes, and uploads to wait for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from tests.operators.conftest import TARGET, make_model, make_rows, when_sent
from tests.runs import new_dag, run_dag

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_deepchecks.local_server.server import LocalServer

#: How a sensor can wait.
MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}


@pytest.fixture
def server(deepchecks_server: LocalServer, airflow_db: object) -> LocalServer:
    """A server that works on each upload at once, with the model."""
    return make_model(deepchecks_server)


@pytest.fixture
def queue_server(deepchecks_consumer_server: LocalServer, airflow_db: object) -> LocalServer:
    """A server that works behind the uploads, with the model."""
    return make_model(deepchecks_consumer_server)


def uploaded(rows: Any = None, **more: Any) -> dict[str, Any]:
    """The receipt of an upload that did not wait."""
    with new_dag() as dag:
        DeepchecksLogBatchOperator(task_id="upload", data=rows or make_rows(20), **TARGET, **more)
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    receipt: dict[str, Any] = ran.results["upload"]
    return receipt


def rows_refused(server: LocalServer, count: int = 4, good: int = 16) -> Callable[[], list[dict[str, Any]]]:
    """Rows to upload, of which the server refuses some after its 200.

    They are right when they are sent; the server's clock is put back before its consumer looks.
    """
    server.pause_consumer()
    made_at: list[datetime] = []

    def rows_of_now() -> list[dict[str, Any]]:
        now, rows = datetime.now(UTC), make_rows(count + good)
        made_at.append(now)
        for number, row in enumerate(rows):
            age = timedelta(milliseconds=number) if number < count else timedelta(seconds=60 + number)
            row["t"] = (now - age).isoformat()
        return rows

    def put_back() -> None:
        server.clock.stop_at(made_at[-1] - timedelta(milliseconds=count))
        server.resume_consumer()

    when_sent(server, put_back)
    return rows_of_now


def refused(server: LocalServer, count: int = 4, good: int = 16, **more: Any) -> dict[str, Any]:
    """The receipt of an upload of which the server refuses some rows after its 200."""
    return uploaded(rows_refused(server, count, good), **more)
