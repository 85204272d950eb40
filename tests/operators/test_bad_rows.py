# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows that are not sent: none at all, bad ones, late ones; and rows that are there already."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, task

from airflow_provider_deepchecks.operators.log_batch import DeepchecksLogBatchOperator
from airflow_provider_deepchecks.operators.log_labels import DeepchecksLogLabelsOperator
from airflow_provider_deepchecks.sensors.pending_rows import DeepchecksPendingRowsSensor
from tests.operators.conftest import LABELS, TARGET, make_rows
from tests.runs import DAY, clear_once, new_dag, run_dag

ROWS = make_rows(6)
EMPTY = {"id": [], "t": [], "p": [], "x": []}


def account(receipt: Any) -> tuple[int, ...]:
    """Read, and where the rows are."""
    parts = ("read", "stored", "already_stored", "refused", "quarantined", "waiting")
    return tuple(receipt[part] for part in parts)


def test_no_rows(server):
    with new_dag() as dag:
        upload = DeepchecksLogBatchOperator(task_id="upload", data=EMPTY, **TARGET)
        for mode in ({"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}):
            name = "_".join(map(str, *mode.items()))
            DeepchecksPendingRowsSensor(task_id=name, receipt=upload.output, poke_interval=0.1, **mode)
        DeepchecksLogBatchOperator(task_id="waiting", data=EMPTY, wait_for_ingestion=True, **TARGET)
        labels = DeepchecksLogLabelsOperator(task_id="labels", data={"id": [], "y": []}, **LABELS)
        DeepchecksPendingRowsSensor(task_id="labels_in", receipt=labels.output)
    ran = run_dag(dag)
    assert set(ran.states.values()) == {"success"}, ran.errors
    for name in ("upload", "waiting", "labels", "mode_poke"):
        assert account(ran.results[name]) == (0, 0, 0, 0, 0, 0)


def test_no_rows_can_skip(server):
    with new_dag() as dag:
        upload = DeepchecksLogBatchOperator(task_id="upload", data=EMPTY, skip_if_empty=True, **TARGET)
        DeepchecksPendingRowsSensor(task_id="after", receipt=upload.output)
        DeepchecksPendingRowsSensor(
            task_id="after_all", receipt=upload.output, trigger_rule="none_failed", soft_fail=True
        )
        DeepchecksLogBatchOperator(task_id="rows", data=ROWS, skip_if_empty=True, **TARGET)
        DeepchecksLogLabelsOperator(task_id="labels", data={"id": [], "y": []}, skip_if_empty=True, **LABELS)
    ran = run_dag(dag)
    assert ran.states == {
        "upload": "skipped",
        "after": "skipped",
        # It has nothing to prove, and does not pass for having proven it.
        "after_all": "failed",
        "rows": "success",
        "labels": "skipped",
    }
    assert "skipped leaves no receipt" in str(ran.errors["after_all"][-1])


def test_dry_run(server, tmp_path):
    bad = [{**ROWS[0], "t": None}, {**ROWS[1], "p": None}]
    with new_dag() as dag:
        DeepchecksLogBatchOperator(
            task_id="upload",
            data=[*ROWS[2:], *bad],
            dry_run=True,
            on_invalid_rows="quarantine",
            quarantine_path=str(tmp_path / "bad.parquet"),
            **TARGET,
        )
        DeepchecksLogBatchOperator(task_id="good", data=ROWS, dry_run=True, **TARGET)
        DeepchecksLogLabelsOperator(task_id="labels", data=[{"id": "a", "y": 1.5}], dry_run=True, **LABELS)
    ran = run_dag(dag)
    good = ran.results["good"]
    assert (good["read"], good["valid"], good["invalid"]) == (6, 6, 0)
    assert (good["first_time"], good["last_time"]) == (
        DAY.isoformat(),
        (DAY + timedelta(seconds=5)).isoformat(),
    )
    assert ran.results["labels"]["valid"] == 1
    assert list(tmp_path.iterdir()) == []
    assert server.stored("m", "v1") == {}
    assert server.labels("m") == {}
    report = ran.results["upload"]
    assert (report["read"], report["valid"], report["invalid"]) == (6, 4, 2)
    assert [row["sample_id"] for row in report["examples"]] == ["s00000", "s00001"]


def test_bad_rows_fail_and_are_shown(server, tmp_path):
    rows = [*ROWS[:3], {**ROWS[3], "t": None}, {**ROWS[4], "id": None}, {**ROWS[5], "id": "s00000"}]
    with new_dag(retries=1) as dag:
        DeepchecksLogBatchOperator(
            task_id="upload", data=rows, quarantine_path=str(tmp_path / "shown.parquet"), **TARGET
        )
    ran = run_dag(dag)
    assert (ran.states["upload"], ran.tries["upload"]) == ("failed", 1)
    (error,) = ran.errors["upload"]
    assert isinstance(error, AirflowFailException)
    for text in ("6 rows checked, 3 cannot be sent", "row 3 ('s00003')", "row 4", "row 5 ('s00000')"):
        assert text in str(error)
    assert server.stored("m", "v1") == {}
    assert pq.read_table(tmp_path / "shown.parquet").num_rows == 3


def test_quarantine(server, tmp_path):
    rows = [*ROWS[:3], {**ROWS[3], "t": None}, {**ROWS[4], "id": None}, {**ROWS[5], "id": "s00000"}]
    path = tmp_path / "deep" / "bad-{{ ds }}.parquet"
    with new_dag() as dag:
        upload = DeepchecksLogBatchOperator(
            task_id="upload",
            data=rows,
            on_invalid_rows="quarantine",
            quarantine_path=str(path),
            wait_for_ingestion=True,
            **TARGET,
        )
        DeepchecksLogBatchOperator(
            task_id="limited",
            data=rows,
            on_invalid_rows="quarantine",
            quarantine_path=str(tmp_path / "limited.parquet"),
            max_invalid_rows=2,
            **TARGET,
        )
        (
            DeepchecksLogBatchOperator(
                task_id="share",
                data=rows,
                on_invalid_rows="quarantine",
                quarantine_path=str(tmp_path / "share.parquet"),
                max_invalid_rows=0.5,
                **TARGET,
            )
            << upload
        )
    ran = run_dag(dag)
    assert ran.states == {"upload": "success", "limited": "failed", "share": "success"}
    receipt = ran.results["upload"]
    assert account(receipt) == (6, receipt["stored"], receipt["already_stored"], 0, 3, 0)
    assert receipt["stored"] + receipt["already_stored"] == 3
    assert receipt["quarantine_path"] == str(tmp_path / "deep" / f"bad-{DAY:%Y-%m-%d}.parquet")
    assert len(receipt["reasons"]) == 3
    kept = pq.read_table(receipt["quarantine_path"])
    assert kept.num_rows == 3
    assert {"id", "t", "p", "x"} < set(kept.column_names)
    assert server.stored("m", "v1").keys() == {"s00000", "s00001", "s00002"}
    # The file is there although the task failed.
    assert pq.read_table(tmp_path / "limited.parquet").num_rows == 3
    assert "3 cannot be sent" in str(ran.errors["limited"][0])


def test_mapped_tasks_do_not_replace_each_others_quarantine(server, tmp_path):
    """A green task's bad rows are in its file, whichever task comes last."""
    paths = []
    for number in range(2):
        rows = [*make_rows(2, prefix=f"part{number}-"), {**ROWS[0], "id": f"bad{number}", "t": None}]
        paths.append(str(tmp_path / f"{number}.json"))
        Path(paths[-1]).write_text("\n".join(map(json.dumps, rows)))
    kept = {"on_invalid_rows": "quarantine", "on_late_rows": "send", **TARGET}
    own = str(tmp_path / "bad-{{ ti.map_index }}.parquet")
    with new_dag() as dag:
        DeepchecksLogBatchOperator.partial(
            task_id="shared", quarantine_path=str(tmp_path / "bad.parquet"), **kept
        ).expand(data=paths)
        DeepchecksLogBatchOperator.partial(task_id="own", quarantine_path=own, **kept).expand(data=paths)
    ran = run_dag(dag)
    assert sorted(ran.states.values()) == ["failed", "success", "success", "success"]
    assert {ran.states[f"own[{number}]"] for number in range(2)} == {"success"}
    ((_, (error,)),) = ran.errors.items()
    assert "holds rows of another mapped task" in str(error)
    for number in range(2):
        found = pq.read_table(tmp_path / f"bad-{number}.parquet")
        assert found.column("id").to_pylist() == [f"bad{number}"]


# -- late rows ---------------------------------------------------------------------------------------------


@pytest.fixture
def later(server):
    """The version holds samples of the next day."""
    with new_dag() as dag:
        DeepchecksLogBatchOperator(
            task_id="upload", data=make_rows(2, prefix="later", first=86_400), **TARGET
        )
    assert run_dag(dag).state == "success"
    return server


def test_late_rows_fail(later):
    with new_dag(retries=1) as dag:
        upload = DeepchecksLogBatchOperator(task_id="upload", data=ROWS, **TARGET)
        upload >> task(clear_once(dag.dag_id, "upload"), task_id="clear", trigger_rule="all_done")()
    ran = run_dag(dag)
    # A cleared task looks again, and finds the same.
    assert (ran.states["upload"], ran.tries["upload"]) == ("failed", 2)
    for error in ran.errors["upload"]:
        assert isinstance(error, AirflowFailException)
        for text in (DAY.isoformat(), "2026-01-03T00:00:01+00:00", "on_late_rows='send'"):
            assert text in str(error)
    assert later.stored("m", "v1").keys() == {"later86400", "later86401"}


def test_late_rows_are_sent(later):
    with new_dag() as dag:
        DeepchecksLogBatchOperator(
            task_id="upload", data=ROWS, on_late_rows="send", wait_for_ingestion=True, **TARGET
        )
    ran = run_dag(dag)
    assert account(ran.results["upload"]) == (6, 6, 0, 0, 0, 0)
    assert len(later.stored("m", "v1")) == 8


def test_late_rows_go_to_quarantine(later, tmp_path):
    rows = [*make_rows(2, first=86_500), *ROWS]
    path = str(tmp_path / "late.parquet")
    with new_dag() as dag:
        DeepchecksLogBatchOperator(
            task_id="upload", data=rows, on_late_rows="quarantine", quarantine_path=path, **TARGET
        )
    ran = run_dag(dag)
    assert account(ran.results["upload"]) == (8, 0, 0, 0, 6, 2)
    assert pq.read_table(path).num_rows == 6
    assert len(later.stored("m", "v1")) == 4


# -- rows that are there already ---------------------------------------------------------------------------


def test_second_run_finds_its_rows(server):
    for _ in range(2):
        with new_dag() as dag:
            DeepchecksLogBatchOperator(task_id="upload", data=ROWS, wait_for_ingestion=True, **TARGET)
        ran = run_dag(dag)
    assert account(ran.results["upload"]) == (6, 0, 6, 0, 0, 0)
    assert server.errors("m") == []


def test_cleared_task_finds_its_rows(server):
    with new_dag() as dag:
        upload = DeepchecksLogBatchOperator(task_id="upload", data=ROWS, wait_for_ingestion=True, **TARGET)
        upload >> task(clear_once(dag.dag_id, "upload"), task_id="clear")()
    ran = run_dag(dag)
    assert (ran.states["upload"], ran.tries["upload"]) == ("success", 2)
    assert account(ran.results["upload"]) == (6, 0, 6, 0, 0, 0)
    assert server.errors("m") == []


def test_second_run_with_more_rows(server):
    """The batch of before, and rows that came later, among them one between the others."""
    for rows in (ROWS, make_rows(9)):
        with new_dag() as dag:
            DeepchecksLogBatchOperator(task_id="upload", data=rows, wait_for_ingestion=True, **TARGET)
        ran = run_dag(dag)
    assert account(ran.results["upload"]) == (9, 3, 6, 0, 0, 0)
