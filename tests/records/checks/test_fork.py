# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Airflow forks its task processes: the checks must not wait for threads that only the parent has."""

from __future__ import annotations

from tests.forking import run_forked

_SCRIPT = """
from datetime import datetime
import pyarrow as pa

from airflow_provider_deepchecks.records.checks.unique import UniqueIds
from tests.records.checking import check, checker, rows_of

rows = 20_000
kinds = {"n": "numeric", "i": "integer", "f": "boolean", "c": "categorical", "d": "datetime"}
batch = rows_of(
    rows,
    at=pa.array([datetime(2025, 7, 1)] * rows),
    guess=["1.5"] * rows,
    n=["1"] * rows,
    i=["3.0"] * rows,
    f=["true"] * rows,
    c=pa.array(["x"] * rows, pa.string_view()),
    d=["2026-01-01 10:00"] * rows,
)
with UniqueIds() as ids:
    for first in (0, rows):
        checked = ids.check(check(checker(kinds, timezone="Europe/Berlin"), batch, untyped=True, first=first))
print(checked.counts())
os._exit(0 if checked.counts() == {"sample id twice in this run": rows} else 1)
"""


def test_checks_work_in_a_forked_child() -> None:
    run_forked(_SCRIPT)
