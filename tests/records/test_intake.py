# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_deepchecks.exceptions import (
    DeepchecksColumnsError,
    DeepchecksInvalidRowsError,
    DeepchecksLateRowsError,
)
from airflow_provider_deepchecks.records.intake import BadRowRules, Intake
from airflow_provider_deepchecks.records.report import set_aside_late
from airflow_provider_deepchecks.records.set_aside import SetAside
from airflow_provider_deepchecks.records.sources.source import open_frame
from tests.records.checking import NOW, PAST, checker, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_deepchecks.records.checks.checked import Checked


def bad(*ids: str | None) -> pa.RecordBatch:
    """Rows without a prediction."""
    return rows_of(
        id=list(ids), at=pa.array([PAST] * len(ids)), guess=pa.array([None] * len(ids), pa.float64())
    )


def good(*ids: str) -> pa.RecordBatch:
    return rows_of(id=list(ids), at=pa.array([PAST] * len(ids)), guess=[1.0] * len(ids))


def intake(
    *batches: pa.RecordBatch, late: Any = None, set_aside: SetAside | None = None, **rules: Any
) -> Intake:
    class Batches:
        description, rereadable, ordered, untyped = "test", True, False, False

        def batches(self) -> Iterator[pa.RecordBatch]:
            yield from batches

        def fingerprint(self) -> str:
            return ""

    return Intake(
        Batches(),
        checker,
        BadRowRules(**rules),
        set_aside_late=late,
        watermark=NOW,
        set_aside=set_aside,
    )


def ids_of(batches: Any) -> list[str]:
    return [sample_id for batch in batches for sample_id in batch.column("_dc_sample_id").to_pylist()]


def test_good_rows():
    one = intake(good("a", "b"), good("c"))
    with one:
        assert not one.complete
        assert ids_of(one.batches()) == ["a", "b", "c"]
    assert one.complete
    assert (one.report.read, one.report.good) == (3, 3)


def test_every_reading_starts_anew():
    with (
        SetAside() as set_aside,
        intake(good("a"), bad("b"), on_invalid="quarantine", set_aside=set_aside) as one,
    ):
        for _ in range(2):
            assert ids_of(one.batches()) == ["a"]
            assert (one.report.read, one.report.bad) == (2, 1)
            assert [sample_id for sample_id, _ in set_aside.rows()] == ["b"]


def test_after_a_bad_row_the_rest_is_checked_and_not_given():
    with intake(good("a"), bad("b"), good("c"), bad("d")) as one:
        rows = one.batches()
        assert ids_of([next(rows)]) == ["a"]
        with pytest.raises(DeepchecksInvalidRowsError, match="4 rows checked, 2 cannot be sent") as error:
            next(rows)
    assert sum(error.value.reasons.values()) == 2


@pytest.mark.parametrize(
    ("limit", "passes"), [(1, False), (2, True), (0.4, False), (0.5, True), (None, True)]
)
def test_limits(limit, passes):
    with intake(good("a"), bad("b"), good("c"), bad("d"), on_invalid="quarantine", max_invalid=limit) as one:
        if passes:
            assert ids_of(one.batches()) == ["a", "c"]
        else:
            with pytest.raises(DeepchecksInvalidRowsError, match=f"max_invalid_rows={limit} ") as error:
                list(one.batches())
            assert "on_invalid_rows" not in str(error.value)


def test_count_stops_the_rows_at_once_and_a_share_at_the_end():
    with intake(bad("b", "d"), good("a"), on_invalid="quarantine", max_invalid=1) as one:
        rows = one.batches()
        with pytest.raises(DeepchecksInvalidRowsError):
            next(rows)
    with intake(bad("b", "d"), good("a"), on_invalid="quarantine", max_invalid=0.1) as one:
        rows = one.batches()
        assert ids_of([next(rows), next(rows)]) == ["a"]
        with pytest.raises(DeepchecksInvalidRowsError):
            next(rows)


def test_quarantine_holds_the_last_reading_only(tmp_path):
    path = tmp_path / "bad.parquet"
    with intake(good("a"), bad("b"), on_invalid="quarantine", quarantine_path=str(path)) as one:
        list(one.batches())
        list(one.batches())
    assert pq.read_table(path).column("id").to_pylist() == ["b"]


def test_id_twice_in_different_batches():
    with intake(good("a"), good("b", "a"), on_invalid="quarantine") as one:
        assert ids_of(one.batches()) == ["a", "b"]
        assert one.report.bad == 1


def aside(checked: Checked) -> Checked:
    return set_aside_late(checked, NOW)


@pytest.mark.parametrize("on_invalid", ["fail", "quarantine"])
def test_late_rows_have_a_rule_of_their_own(on_invalid):
    one = intake(good("a"), late=aside, on_invalid=on_invalid, on_late="fail")
    with one, pytest.raises(DeepchecksLateRowsError, match="on_late_rows='send'"):
        list(one.batches())
    with intake(good("a"), late=aside, on_invalid=on_invalid, on_late="quarantine") as one:
        assert ids_of(one.batches()) == []
        assert one.report.bad == 1
    one = intake(bad("a"), good("b"), late=aside, on_invalid="fail", on_late="quarantine")
    with one, pytest.raises(DeepchecksInvalidRowsError):
        list(one.batches())


def test_late_rows_are_told_besides_any_number_of_rows_in_quarantine():
    one = intake(bad(*map(str, range(20))), good("a"), late=aside, on_invalid="quarantine", on_late="fail")
    with one, pytest.raises(DeepchecksLateRowsError, match="on_late_rows='send'") as error:
        list(one.batches())
    text = str(error.value)
    assert f"newest sample is of {NOW.isoformat()}" in text
    assert f"{PAST.isoformat()}, newest is {NOW.isoformat()}" in text
    assert "on_invalid_rows" not in text


def test_dry_run_and_second_reading():
    one = intake(good("a"), bad("b"), late=aside, on_late="quarantine")
    report = one.check()
    assert (report.read, report.bad, one.complete) == (2, 2, True)
    # Late rows are valid ones.
    assert ids_of(one.good_rows()) == ["a"]
    assert one.report.read == 2


def test_dry_run_can_be_stopped():
    one = intake(good("a"), good("b"))

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        one.check(stop)
    assert not one.complete


def test_wrong_columns_before_the_first_row():
    table = pa.table({"id": ["a"], "guess": [1.0]})
    one = Intake(open_frame(table), checker, BadRowRules())
    with one, pytest.raises(DeepchecksColumnsError, match="'at'"):
        next(one.batches())


def test_progress_of_reading_is_logged(caplog, monkeypatch):
    monkeypatch.setattr("airflow_provider_deepchecks.records.intake.LOG_EVERY", 0.0)
    caplog.set_level("INFO")
    with intake(good("a"), good("b")) as one:
        list(one.batches())
    assert "2 rows read and checked." in caplog.text
