# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Labels: with the samples, and later."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator
from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor
from tests.operators.conftest import LABELS, TARGET, make_rows
from tests.operators.test_bad_rows import account
from tests.runs import DAY, new_dag, run_dag

ROWS = make_rows(6)


def labels(*numbers: int, y: float | None = 1.0) -> list[dict[str, object]]:
    return [{"id": f"s{number:05d}", "y": y} for number in numbers]


@pytest.fixture
def sampled(server):
    """The version holds the samples."""
    with new_dag() as dag:
        DeepchecksLogBatchOperator(task_id="upload", data=ROWS, **TARGET)
    assert run_dag(dag).state == "success"
    return server


@pytest.mark.parametrize("deferrable", [False, True])
def test_labels_with_the_samples(queue_server, deferrable):
    rows = [{**row, "y": None if number == 2 else row["p"]} for number, row in enumerate(ROWS)]
    with new_dag() as dag:
        DeepchecksLogBatchOperator(
            task_id="upload",
            data=rows,
            label_column="y",
            wait_for_ingestion=True,
            poll_interval=0.2,
            deferrable=deferrable,
            **TARGET,
        )
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    receipt = ran.results["upload"]
    assert account(receipt) == (6, 6, 0, 0, 0, 0)
    assert account(receipt["labels"]) == (5, 5, 0, 0, 0, 0)
    assert queue_server.labels("m") == {f"s{number:05d}": float(number) for number in (0, 1, 3, 4, 5)}


@pytest.mark.parametrize("deferrable", [False, True])
def test_labels_later(sampled, deferrable):
    with new_dag() as dag:
        upload = DeepchecksLogLabelsOperator(
            task_id="upload",
            data=labels(0, 1, 2),
            labels_per_send=2,
            wait_for_ingestion=True,
            poll_interval=0.2,
            deferrable=deferrable,
            **LABELS,
        )
        DeepchecksPendingRowsSensor(task_id="sensor", receipt=upload.output, deferrable=deferrable)
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    assert account(ran.results["upload"]) == (3, 3, 0, 0, 0, 0)
    assert sampled.labels("m").keys() == {"s00000", "s00001", "s00002"}
    puts = [item for item in sampled.exchanges if item.method == "PUT"]
    assert len(puts) == 2


def test_labels_of_a_window(sampled):
    """Only the window's samples prove the labels; it may be told by templates."""
    with new_dag() as dag:
        DeepchecksLogLabelsOperator(
            task_id="upload",
            data=labels(2, 3),
            model_version="v1",
            window_start=DAY + timedelta(seconds=2),
            window_end="{{ (data_interval_start + macros.timedelta(seconds=3)).isoformat() }}",
            wait_for_ingestion=True,
            **LABELS,
        )
    ran = run_dag(dag)
    assert ran.state == "success", ran.errors
    receipt = ran.results["upload"]
    assert account(receipt) == (2, 2, 0, 0, 0, 0)
    assert receipt["window_end"] == (DAY + timedelta(seconds=3)).isoformat()


def test_null_labels_take_labels_back(sampled):
    for y, allowed in ((1.0, False), (None, True)):
        with new_dag() as dag:
            DeepchecksLogLabelsOperator(
                task_id="upload", data=labels(0, y=y), allow_null_labels=allowed, **LABELS
            )
        assert run_dag(dag).state == "success"
    assert sampled.labels("m") == {"s00000": None}


def test_labels_without_samples(sampled):
    """The server keeps labels of samples that are not there yet; whether that will do is for the user."""
    tasks = {
        "strict": {"lost_after": 0.5},
        "lenient": {"lost_after": 0.5, "allow_unmatched": True},
    }
    with new_dag(retries=0) as dag:
        strict, lenient = (
            DeepchecksLogLabelsOperator(
                task_id=name,
                data=[*labels(0), {"id": f"{name}-unknown", "y": 2.0}],
                wait_for_ingestion=True,
                poll_interval=0.3,
                trigger_rule="all_done",
                **LABELS,
                **more,
            )
            for name, more in tasks.items()
        )
        strict >> lenient
    ran = run_dag(dag)
    assert ran.states == {"strict": "failed", "lenient": "success"}, ran.errors
    assert "allow_unmatched=True" in str(ran.errors["strict"][0])
    receipt = ran.results["lenient"]
    assert (receipt["stored"], receipt["already_stored"], receipt["unmatched"]) == (1, 1, 1)
    assert {"strict-unknown", "lenient-unknown"} < sampled.labels("m").keys()


def test_labels_again_change_nothing(sampled):
    for _ in range(2):
        with new_dag() as dag:
            DeepchecksLogLabelsOperator(
                task_id="upload",
                data=labels(*range(6)),
                wait_for_ingestion=True,
                poll_interval=0.2,
                **LABELS,
            )
        ran = run_dag(dag)
        assert ran.state == "success", ran.errors
    receipt = ran.results["upload"]
    assert receipt["read"] == 6
    assert receipt["waiting"] == 0


def test_a_window_that_ends_before_it_begins(sampled):
    with new_dag(retries=1) as dag:
        DeepchecksLogLabelsOperator(
            task_id="upload", data=labels(0), window_start="2026-01-02", window_end="2026-01-01", **LABELS
        )
    ran = run_dag(dag)
    assert (ran.states["upload"], ran.tries["upload"]) == ("failed", 1)
    assert "window_start=2026-01-02 is after window_end=2026-01-01" in str(ran.errors["upload"][0])
    assert sampled.labels("m") == {}


def test_null_labels_are_proven(sampled):
    """Some labels are taken back while others are given: no count tells that they are in."""
    for values in ([1.0] * 4, [None, None, 2.0, 2.0, 2.0]):
        with new_dag() as dag:
            DeepchecksLogLabelsOperator(
                task_id="upload",
                data=[{"id": f"s{number:05d}", "y": value} for number, value in enumerate(values)],
                allow_null_labels=True,
                wait_for_ingestion=True,
                poll_interval=0.2,
                **LABELS,
            )
        ran = run_dag(dag)
        assert ran.state == "success", ran.errors
    assert list(sampled.labels("m").values()) == [None, None, 2.0, 2.0, 2.0]
    assert ran.results["upload"]["waiting"] == 0
