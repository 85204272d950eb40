# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The demo's accounts: a row that is missing anywhere is a fault."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from example_dags.demo.ledger import Entry, summary, table

GOOD = Entry(
    dag_id="log_flight_predictions",
    day=date(2013, 7, 1),
    state="success",
    expected=980,
    read=980,
    stored=970,
    already_stored=5,
    refused=3,
    quarantined=2,
    labels=None,
    coverage=None,
    on_server=(975, 975),
    seconds=1.25,
)


def test_an_account_that_adds_up_has_no_faults() -> None:
    assert GOOD.faults() == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"state": "failed"}, "the run ended as failed"),
        ({"read": 979, "stored": 969}, "read 979 rows, the warehouse has 980"),
        ({"stored": 969}, "1 of 980 rows read are neither stored nor named"),
        ({"on_server": (974, 975)}, "Deepchecks has 974 rows, the warehouse 975"),
        ({"on_server": (976, 975)}, "Deepchecks has 976 rows, the warehouse 975"),
    ],
)
def test_whatever_does_not_add_up_is_told(change: dict[str, Any], fault: str) -> None:
    assert replace(GOOD, **change).faults() == [fault]


def test_table_shows_each_run() -> None:
    labels = replace(GOOD, dag_id="log_flight_delays", labels=1650, coverage=0.5, on_server=(1, 2))
    lines = table([GOOD, labels]).splitlines()
    assert len(lines) == 4
    assert lines[2].split() == [
        "log_flight_predictions", "2013-07-01", "980", "970", "5", "3", "2", "1.2", "ok",
    ]  # fmt: skip
    assert lines[3].split()[-4:] == ["1,650", "50.0%", "1.2", "FAULT"]


def test_summary_counts_samples_and_labels_apart() -> None:
    labels = replace(GOOD, labels=650, refused=0, quarantined=0)
    assert "980 samples and 650 labels read, 5 of them named" in summary([GOOD, labels])
