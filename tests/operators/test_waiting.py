# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""``wait_for_ingestion``: green means that the rows are in."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_deepchecks.exceptions import DeepchecksLostRowsError, DeepchecksStalledError
from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator
from tests.operators.conftest import LABELS, TARGET, make_rows, when_sent
from tests.operators.test_bad_rows import account
from tests.runs import new_dag, run_dag
from tests.sensors.conftest import rows_refused

ROWS = make_rows(60)
DEFERRABLE = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])


def upload(rows: Any = ROWS, *, retries: int = 0, **more: Any) -> Any:
    """Run one upload that waits."""
    with new_dag(retries=retries) as dag:
        DeepchecksLogBatchOperator(
            task_id="upload",
            data=rows,
            wait_for_ingestion=True,
            **{"poll_interval": 0.2, "samples_per_send": 20, **TARGET, **more},
        )
    return run_dag(dag)


@DEFERRABLE
@pytest.mark.parametrize("verify", ["auto", "counts", "ids"])
def test_all_in(queue_server, deferrable, verify, tmp_path):
    ids_path = str(tmp_path / "ids.parquet") if verify == "ids" and deferrable else None
    ran = upload(deferrable=deferrable, verify=verify, ids_path=ids_path)
    assert ran.state == "success", ran.errors
    assert account(ran.results["upload"]) == (60, 60, 0, 0, 0, 0)
    # A file that only this task had is nothing to tell others of.
    assert ran.results["upload"]["ids_path"] == ids_path
    assert len(queue_server.stored("m", "v1")) == 60


@DEFERRABLE
def test_refused_rows(queue_server, deferrable):
    """The rows are right when they are sent; before the consumer looks, the server's clock is put back."""
    rows_of_now = rows_refused(queue_server, 5, good=0)
    ran = upload(rows_of_now, retries=1, deferrable=deferrable)
    assert (ran.states["upload"], ran.tries["upload"]) == ("failed", 1), ran.errors
    (error,) = ran.errors["upload"]
    assert isinstance(error, AirflowFailException)
    for text in ("refused 5 rows", "s00000", "future timestamp"):
        assert text in str(error)


@DEFERRABLE
def test_lost_rows_are_sent_again(queue_server, deferrable):
    """The first poll is lost: its rows are older than the others of the batch, which are in by then."""
    queue_server.pause_consumer()

    def lose() -> None:
        queue_server.lose_next_poll()
        queue_server.resume_consumer()

    when_sent(queue_server, lose, requests=3)
    ran = upload(make_rows(1_200), retries=1, deferrable=deferrable, lost_after=1.5, samples_per_send=400)
    assert (ran.states["upload"], ran.tries["upload"]) == ("success", 2), ran.errors
    assert isinstance(ran.errors["upload"][0], DeepchecksLostRowsError)
    assert account(ran.results["upload"]) == (1_200, 500, 700, 0, 0, 0)
    assert len(queue_server.stored("m", "v1")) == 1_200


@DEFERRABLE
def test_stalled(queue_server, deferrable):
    queue_server.pause_consumer()
    ran = upload(deferrable=deferrable, stall_after=1.0, lost_after=1.0)
    assert ran.states["upload"] == "failed"
    told = str(ran.errors["upload"][0])
    assert isinstance(ran.errors["upload"][0], DeepchecksStalledError | DeepchecksLostRowsError), told


@DEFERRABLE
def test_timeout(queue_server, deferrable):
    """A retry goes on waiting; what is in stays as it is."""
    queue_server.pause_consumer()
    when_sent(queue_server, lambda: threading.Timer(2.0, queue_server.resume_consumer).start(), requests=3)
    ran = upload(retries=4, deferrable=deferrable, wait_timeout=1.5)
    assert ran.states["upload"] == "success", ran.errors
    assert ran.tries["upload"] > 1
    first = ran.errors["upload"][0]
    assert isinstance(first, DeepchecksStalledError)
    for text in ("wait_timeout=1.5 s", "60 of 60 rows"):
        assert text in str(first)
    assert len(queue_server.stored("m", "v1")) == 60
    receipt = ran.results["upload"]
    assert (receipt["read"], receipt["waiting"], receipt["refused"]) == (60, 0, 0)


@DEFERRABLE
def test_lost_rows_are_sent_again_however_short_a_wait_is(queue_server, deferrable, tmp_path):
    """No attempt waits as long as it takes to call rows lost; together they do."""
    queue_server.lose_next_poll()
    ran = upload(
        retries=20,
        deferrable=deferrable,
        wait_timeout=1.0,
        lost_after=4.0,
        checkpoint_path=str(tmp_path / "checkpoint.json"),
        samples_per_send=60,
    )
    assert ran.states["upload"] == "success", ran.errors
    assert any(isinstance(error, DeepchecksLostRowsError) for error in ran.errors["upload"])
    assert len(queue_server.stored("m", "v1")) == 60


@pytest.mark.parametrize("verify", ["auto", "ids"])
def test_ids_tell_our_rows_from_others(queue_server, verify):
    """Another run's rows come into the window while ours are lost: counts would pass."""
    queue_server.pause_consumer()
    others = [
        {
            "_dc_sample_id": f"other{number}",
            "_dc_time": row["t"],
            "_dc_prediction": 1.0,
            "x": 1.0,
        }
        for number, row in enumerate(ROWS)
    ]

    def lose_ours() -> None:
        queue_server.lose_next_poll()
        queue_server.resume_consumer()
        queue_server.wait_until_idle()
        version = queue_server.call("GET", "/available-models")[0]["versions"][0]["id"]
        queue_server.call("POST", f"/model-versions/{version}/data", others)

    when_sent(queue_server, lose_ours, requests=3)
    ran = upload(verify=verify, lost_after=2.0)
    assert ran.states["upload"] == "failed"
    error = ran.errors["upload"][0]
    assert isinstance(error, DeepchecksLostRowsError)
    assert "60 of 60 rows" in str(error)
    assert "s00000" in str(error)


def test_lost_labels_are_no_success_without_their_ids(queue_server):
    """In the triggerer only counts are at hand, and every sample has a label already."""
    assert upload([{**row, "y": 1.0} for row in ROWS], label_column="y").state == "success"
    queue_server.lose_next_poll()
    with new_dag(retries=0) as dag:
        DeepchecksLogLabelsOperator(
            task_id="labels",
            data=[{"id": row["id"], "y": 2.0} for row in ROWS],
            wait_for_ingestion=True,
            poll_interval=0.2,
            lost_after=2.0,
            deferrable=True,
            **LABELS,
        )
    ran = run_dag(dag)
    assert ran.states["labels"] == "failed"
    assert isinstance(ran.errors["labels"][0], DeepchecksLostRowsError)
    assert set(queue_server.labels("m").values()) == {1.0}


@DEFERRABLE
def test_lost_labels_are_sent_again(queue_server, deferrable, tmp_path):
    """Every sample has a label already, so no count tells that the new ones did not arrive."""
    assert upload([{**row, "y": 1.0} for row in ROWS], label_column="y").state == "success"
    queue_server.lose_next_poll()
    with new_dag(retries=1) as dag:
        DeepchecksLogLabelsOperator(
            task_id="labels",
            data=[{"id": row["id"], "y": 2.0} for row in ROWS],
            wait_for_ingestion=True,
            poll_interval=0.2,
            lost_after=1.0,
            deferrable=deferrable,
            ids_path=str(tmp_path / "ids.parquet") if deferrable else None,
            **LABELS,
        )
    ran = run_dag(dag)
    assert (ran.states["labels"], ran.tries["labels"]) == ("success", 2), ran.errors
    assert isinstance(ran.errors["labels"][0], DeepchecksLostRowsError)
    assert "60 of 60 labels are on no sample, or it has another one" in str(ran.errors["labels"][0])
    assert set(queue_server.labels("m").values()) == {2.0}
