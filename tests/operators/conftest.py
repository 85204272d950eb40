# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the tests of the operators share: a model, and rows for it."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from tests.runs import DAY, new_dag, run_dag

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_deepchecks.local_server.server import LocalServer

#: Arguments of an upload to the model of the fixtures.
TARGET: dict[str, Any] = {
    "model_name": "m",
    "model_version": "v1",
    "sample_id_column": "id",
    "timestamp_column": "t",
    "prediction_column": "p",
}
#: Arguments of a label upload.
LABELS: dict[str, Any] = {"model_name": "m", "sample_id_column": "id", "label_column": "y"}


def make_rows(count: int, *, prefix: str = "s", first: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Rows a second apart, in time order."""
    return [
        {
            "id": f"{prefix}{number:05d}",
            "t": (DAY + timedelta(seconds=number)).isoformat(),
            "p": float(number),
            "x": number / 2,
            **more,
        }
        for number in range(first, first + count)
    ]


def make_model(server: LocalServer) -> LocalServer:
    """Model ``m`` with version ``v1``: one feature ``x``."""
    server.create_model("m", "regression", features={"x": "numeric"})
    return server


@pytest.fixture
def server(deepchecks_server: LocalServer, airflow_db: object) -> LocalServer:
    """A server that works on each upload at once, with the model."""
    return make_model(deepchecks_server)


@pytest.fixture
def queue_server(deepchecks_consumer_server: LocalServer, airflow_db: object) -> LocalServer:
    """A server that works behind the uploads, with the model."""
    return make_model(deepchecks_consumer_server)


def refuse_label(server: LocalServer, sample_id: str) -> None:
    """Leave a sample without its label, and with an entry that tells why."""
    for value in ("x", None):
        server.call("PUT", "/model/1/labels", [{"_dc_sample_id": sample_id, "_dc_label": value}])


def when_sent(server: LocalServer, action: Callable[[], object], requests: int = 1) -> None:
    """Do something, in a thread, as soon as so many uploads of samples were answered."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            posts = [
                item for item in server.exchanges if item.method == "POST" and item.path.endswith("/data")
            ]
            if len(posts) >= requests:
                action()
                return
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()


@pytest.fixture
def faulty(server, monkeypatch):
    """The first attempt's second request, and all after it until the retry, are answered 503."""
    from airflow_provider_deepchecks.client.api import DeepchecksClient

    send = DeepchecksClient.send_samples
    state = {"posts": 0}

    def sometimes(self: Any, *arguments: Any, **more: Any) -> Any:
        state["posts"] += 1
        if state["posts"] == 2:
            server.answer_next(503, b"<html>away</html>", path="/data", times=1_000)
        return send(self, *arguments, **more)

    monkeypatch.setattr(DeepchecksClient, "send_samples", sometimes)
    return server


def upload_with_a_fault(server: Any, rows: Any, **more: Any) -> Any:
    """Run an upload of three requests whose first attempt gives up after the first of them."""

    def come_back(context: Any) -> None:
        server._state.faults.answers.clear()

    with new_dag(retries=1) as dag:
        DeepchecksLogBatchOperator(
            task_id="upload",
            data=rows,
            **{"samples_per_send": 10, "send_timeout": 0.5, "wait_for_ingestion": True, **TARGET, **more},
            on_retry_callback=come_back,
        )
    return run_dag(dag)
