# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The report of a run's checks, its errors, and when bad rows are too many."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_deepchecks.exceptions import (
    DeepchecksConfigError,
    DeepchecksInvalidRowsError,
    DeepchecksLateRowsError,
)
from airflow_provider_deepchecks.records.report import (
    EXAMPLES,
    EXAMPLES_PER_REASON,
    CheckReport,
    Rule,
    check_limit,
    set_aside_late,
    too_many,
)
from tests.records.checking import PAST, check, checker, label_checker, reasons, rows_of


def _report(*batches: pa.RecordBatch) -> CheckReport:
    report, checks, first = CheckReport(), checker({"x": "integer"}), 0
    for batch in batches:
        report.add(check(checks, batch, first=first))
        first += batch.num_rows
    return report


def test_rows_are_counted_over_batches() -> None:
    report = _report(
        rows_of(3, id=["a", "", "c"], x=[1.0, 2.5, 3.5]),
        rows_of(2, id=["d", "e"], x=[1.0, 0.5]),
        rows_of(0, x=[]),
    )
    assert (report.read, report.good, report.bad) == (5, 2, 3)
    assert report.reasons == {"not a whole number": 3, "sample id is empty": 1}
    assert [row.position for row in report.examples] == [1, 1, 2, 4]
    assert (report.first_time, report.last_time) == (PAST, PAST)


def test_only_the_first_examples_are_kept() -> None:
    report = _report(rows_of(50, x=[0.5] * 50), rows_of(50, x=[0.5] * 50))
    assert len(report.examples) == EXAMPLES
    assert report.bad == 100


def test_times_are_of_good_rows() -> None:
    times = pa.array([PAST - timedelta(1), PAST, PAST + timedelta(1)], pa.timestamp("us", "UTC"))
    report = _report(rows_of(3, at=times, x=[0.5, 1, 2]), rows_of(1, x=[1.0]))
    assert (report.first_time, report.last_time) == (PAST, PAST + timedelta(1))


def test_labels_have_no_times() -> None:
    report = CheckReport()
    report.add(check(label_checker(), pa.RecordBatch.from_pydict({"id": ["a"], "truth": [1.0]})))
    assert (report.good, report.first_time) == (1, None)
    assert report.to_dict()["first_time"] is None


def test_a_dry_run_returns_plain_json_without_values() -> None:
    report = _report(rows_of(2, x=[1.5, 2.0]))
    found = json.loads(json.dumps(report.to_dict()))
    assert found == {
        "read": 2,
        "valid": 1,
        "invalid": 1,
        "reasons": {"not a whole number": 1},
        "examples": [{"position": 0, "sample_id": "s0", "column": "x", "reason": "not a whole number"}],
        "first_time": PAST.isoformat(),
        "last_time": PAST.isoformat(),
    }
    assert "1.5" not in json.dumps(found)


def test_the_error_tells_counts_first_rows_and_the_way_out() -> None:
    report = _report(rows_of(3, id=["a", None, "c"], x=[1.5, 1.0, 2.5]))
    error = report.error({Rule.NO_INVALID})
    assert type(error) is DeepchecksInvalidRowsError
    assert error.reasons == {"not a whole number": 2, "sample id is missing": 1}
    assert str(error) == (
        "3 rows checked, 3 cannot be sent.\n"
        "  2 rows: not a whole number\n"
        "  1 row: sample id is missing\n"
        "The first ones:\n"
        "  row 0 ('a'): column 'x': not a whole number: 1.5\n"
        "  row 1 (without an id): column 'id': sample id is missing\n"
        "  row 2 ('c'): column 'x': not a whole number: 2.5\n"
        "No more rows were sent. Correct them at the source, or let an operator set them aside and send the "
        "others: on_invalid_rows='quarantine' with a quarantine_path."
    )


def test_late_rows_are_set_aside_and_told_with_both_times() -> None:
    times = pa.array([PAST - timedelta(1), PAST, PAST + timedelta(1)], pa.timestamp("us", "UTC"))
    checked = set_aside_late(check(checker(), rows_of(3, at=times)), PAST)
    assert reasons(checked) == {0: ["time is older than the version's newest sample"]}
    report = CheckReport()
    report.add(checked)
    error = report.error({Rule.NO_LATE}, watermark=PAST)
    assert type(error) is DeepchecksLateRowsError
    assert (PAST - timedelta(1)).isoformat() in str(error)
    assert f"newest sample is of {PAST.isoformat()}" in str(error)
    assert "on_late_rows" in str(error)


def test_late_rows_can_be_spared() -> None:
    times = pa.array([PAST - timedelta(1)] * 2, pa.timestamp("us", "UTC"))
    checked = set_aside_late(check(checker(), rows_of(2, at=times)), PAST, spare=np.array([True, False]))
    assert list(reasons(checked)) == [1]


def test_late_and_invalid_rows_together_are_invalid_rows() -> None:
    times = pa.array([PAST - timedelta(1), PAST], pa.timestamp("us", "UTC"))
    report = CheckReport()
    report.add(set_aside_late(check(checker(), rows_of(2, at=times, guess=[1.0, None])), PAST))
    error = report.error({Rule.NO_INVALID, Rule.NO_LATE}, watermark=PAST)
    assert type(error) is DeepchecksInvalidRowsError
    assert "on_invalid_rows='quarantine'" in str(error)
    assert f"newest sample is of {PAST.isoformat()}" in str(error)


def test_the_way_out_is_that_of_the_rule() -> None:
    report = _report(rows_of(4, x=[1.5, 1.0, 2.5, 3.0]))
    late = report.error({Rule.NO_LATE}, watermark=PAST)
    assert type(late) is DeepchecksLateRowsError
    assert "on_late_rows" in str(late)
    assert "on_invalid_rows" not in str(late)
    for limit in (1, 0.25):
        many = report.error({Rule.LIMIT}, limit=limit)
        assert type(many) is DeepchecksInvalidRowsError
        assert str(many).endswith(
            f"No more rows were sent. 2 of 4 rows are more than max_invalid_rows={limit} lets pass. "
            "Correct them at the source, or set another limit."
        )


def test_each_reason_has_examples() -> None:
    report = _report(
        rows_of(20, x=[0.5] * 20),
        rows_of(9, x=[1.0] * 8 + [0.5], id=["", "", "a", "", "", "b", "c", "d", "e"]),
        rows_of(2, x=[0.5, 1.0], id=["", "f"]),
    )
    assert [(row.position, row.reason) for row in report.examples[EXAMPLES:]] == [
        (20, "sample id is empty"),
        (21, "sample id is empty"),
        (23, "sample id is empty"),
    ]
    assert len(report.examples) == EXAMPLES + EXAMPLES_PER_REASON


def test_examples_of_one_batch_are_in_order_and_told_once() -> None:
    report = _report(rows_of(14, x=[0.5] * 12 + [1.0, 1.0], id=[str(n) for n in range(11)] + ["", "", None]))
    places = [row.position for row in report.examples]
    assert places == [*range(10), 11, 12, 13]
    assert len(set(report.examples)) == len(report.examples)


def test_no_row_of_an_empty_batch_is_late() -> None:
    assert set_aside_late(check(checker(), rows_of(0, guess=pa.array([], pa.int64()))), PAST).findings == ()


@pytest.mark.parametrize(
    ("bad", "read", "limit", "complete", "expected"),
    [
        (0, 0, 0, True, False),
        (1, 100, 0, False, True),
        (5, 100, 5, True, False),
        (6, 100, 5, False, True),
        (6, 100, None, True, False),
        (1, 1, 0.5, False, False),
        (50, 100, 0.5, True, False),
        (51, 100, 0.5, True, True),
        (1, 100, 0.0, True, True),
        (0, 0, 0.5, True, False),
        (100, 100, 1.0, True, False),
        (2, 100, 1, True, True),
        (29, 100, 0.29, True, False),
        (30, 100, 0.29, True, True),
    ],
)
def test_too_many(bad: int, read: int, limit: Any, complete: bool, expected: bool) -> None:
    assert too_many(bad, read, limit, complete=complete) is expected


@pytest.mark.parametrize("limit", [None, 0, 7, 0.0, 0.25, 1.0])
def test_limits(limit: Any) -> None:
    check_limit(limit)


@pytest.mark.parametrize("limit", [-1, -0.1, 1.5, True, "5", float("nan")])
def test_limits_that_are_none(limit: Any) -> None:
    with pytest.raises(DeepchecksConfigError, match="max_invalid_rows"):
        check_limit(limit)
