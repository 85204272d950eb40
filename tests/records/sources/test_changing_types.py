# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Batches of one source whose types differ: each value is taken as it is, never as the first batch's type."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_deepchecks.exceptions import DeepchecksColumnsError, DeepchecksSourceError
from airflow_provider_deepchecks.records.intake import BadRowRules, Intake
from airflow_provider_deepchecks.records.sources.source import Source, open_files, open_frame, open_query
from tests.records.checking import PAST, checker, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAIVE = PAST.replace(tzinfo=None)
UTC_TIME = pa.timestamp("us", "UTC")


def of_frames(parts: list[pa.RecordBatch], _: Path) -> Source:
    return open_frame(iter(parts))


def of_files(parts: list[pa.RecordBatch], folder: Path) -> Source:
    for number, part in enumerate(parts):
        pq.write_table(pa.Table.from_batches([part]), folder / f"{number}.parquet")
    return open_files([f"{folder}/*.parquet"])


def of_arrow_cursor(parts: list[pa.RecordBatch], _: Path) -> Source:
    class Cursor:
        description = ()

        def execute(self, sql: str) -> None:
            pass

        def fetch_arrow_batches(self) -> Any:
            return (pa.Table.from_batches([part]) for part in parts)

    return open_query(lambda: type("Connection", (), {"cursor": lambda _: Cursor()})(), "SELECT 1")


def of_tuples(parts: list[pa.RecordBatch], _: Path) -> Source:
    return of_fetches(
        parts[0].schema.names, [[tuple(row.values()) for row in part.to_pylist()] for part in parts]
    )


def of_fetches(names: list[str], fetches: list[list[tuple[Any, ...]]]) -> Source:
    """A driver whose fetches give these rows, however many are asked for."""

    class Cursor:
        description = tuple((name, *[None] * 6) for name in names)

        def execute(self, sql: str) -> None:
            self.left = [*fetches, []]

        def fetchmany(self, size: int) -> Any:
            return self.left.pop(0)

    return open_query(lambda: type("Connection", (), {"cursor": lambda _: Cursor()})(), "SELECT 1")


SOURCES = [of_frames, of_files, of_arrow_cursor, of_tuples]


def values_of(source: Source, column: str, kind: str | None, **options: Any) -> tuple[list[Any], list[str]]:
    """What is sent in a column, and the reasons of the rows that are not."""
    checks = checker({column: kind} if kind else {}, **options)
    intake = Intake(source, lambda: checks, BadRowRules("quarantine", "send"))
    sent = [value for batch in intake.batches() for value in batch.column(column).to_pylist()]
    return sent, [row.detail for row in intake.report.examples]


def two(column: str, one: Any, other: Any) -> list[pa.RecordBatch]:
    first, second = (array if isinstance(array, pa.Array) else pa.array([array]) for array in (one, other))
    return [rows_of(**({"id": ["a"]} | {column: first})), rows_of(**({"id": ["b"]} | {column: second}))]


@pytest.mark.parametrize("open_parts", SOURCES)
@pytest.mark.parametrize(
    ("one", "other", "kind", "sent"),
    [
        (1, 2.5, "numeric", [1.0, 2.5]),
        (1, float("nan"), "numeric", [1.0, None]),
        (Decimal("1.50"), 0.1234, "numeric", [1.5, 0.1234]),
        (0.5, Decimal("1234567.89"), "numeric", [0.5, 1234567.89]),
        (1, Decimal("1.5"), "numeric", [1.0, 1.5]),
        (pa.nulls(1), "q", "text", [None, "q"]),
        (pa.nulls(1), 1.5, "numeric", [None, 1.5]),
        (pa.nulls(1), True, "boolean", [None, True]),
        ("q", pa.nulls(1), "text", ["q", None]),
        (pa.array([[1]]), pa.array([[0.5]]), "array_float", [[1.0], [0.5]]),
        (pa.nulls(1), pa.array([[0.5]]), "array_float", [None, [0.5]]),
    ],
)
def test_values_are_sent_as_they_are(
    open_parts: Callable[..., Source], one: Any, other: Any, kind: str, sent: list[Any], tmp_path: Path
) -> None:
    assert values_of(open_parts(two("x", one, other), tmp_path), "x", kind) == (sent, [])


@pytest.mark.parametrize("open_parts", SOURCES[:3])
@pytest.mark.parametrize(
    ("one", "other", "kind", "sent"),
    [
        (2.5, 2**53 + 1, "categorical", ["2.5", "9007199254740993"]),
        (pa.array([0.5], pa.float32()), 0.1, "numeric", [0.5, 0.1]),
        (pa.array([0.5], pa.float32()), 1e300, "numeric", [0.5, 1e300]),
        (pa.array([1], pa.int8()), 2**53 + 1, "bigint", [1, 2**53 + 1]),
        (16_777_217, pa.array([0.5], pa.float32()), "numeric", [16_777_217.0, 0.5]),
        (Decimal("1.1"), Decimal("1.12345"), "numeric", [1.1, 1.12345]),
        (pa.array(["a"]).dictionary_encode(), "b", "categorical", ["a", "b"]),
        ("a", pa.array(["b"], pa.large_string()), "categorical", ["a", "b"]),
        (
            pa.array([PAST], pa.timestamp("ms", "UTC")),
            pa.array([PAST], pa.timestamp("ns", "Asia/Kolkata")),
            "datetime",
            [PAST, PAST],
        ),
        (
            pa.array([PAST], pa.timestamp("ns", "UTC")),
            pa.array([dt.datetime(9999, 12, 31, tzinfo=dt.UTC)], UTC_TIME),
            "datetime",
            [PAST, dt.datetime(9999, 12, 31, tzinfo=dt.UTC)],
        ),
    ],
)
def test_arrow_types_may_be_narrower_or_wider(
    open_parts: Callable[..., Source], one: Any, other: Any, kind: str, sent: list[Any], tmp_path: Path
) -> None:
    assert values_of(open_parts(two("x", one, other), tmp_path), "x", kind) == (sent, [])


@pytest.mark.parametrize("open_parts", SOURCES[:3])
def test_a_date_among_times_keeps_the_clock_of_the_times(
    open_parts: Callable[..., Source], tmp_path: Path
) -> None:
    parts = two("x", NAIVE.date(), PAST)
    sent, bad = values_of(open_parts(parts, tmp_path), "x", "datetime", timezone="UTC")
    assert (sent, bad) == ([PAST.replace(hour=0), PAST], [])


@pytest.mark.parametrize("open_parts", SOURCES[:3])
def test_times_with_and_without_zone_are_each_taken_as_they_are(
    open_parts: Callable[..., Source], tmp_path: Path
) -> None:
    for parts in (two("at", PAST, NAIVE), two("at", NAIVE, PAST)):
        sent, _ = values_of(open_parts(parts, tmp_path), "__time", None, timezone="Asia/Kolkata")
        assert sorted(sent) == [PAST - dt.timedelta(hours=5, minutes=30), PAST]
        sent, bad = values_of(open_parts(parts, tmp_path), "__time", None)
        assert sent == [PAST]
        assert "time has no zone" in bad[0]


@pytest.mark.parametrize("open_parts", SOURCES)
@pytest.mark.parametrize(
    ("one", "other"),
    [(True, 5), (1, True), ("a", True), (1, "5"), ("a", 1.5), (NAIVE, 1767225600), ("a", b"zz"), (True, "1")],
)
def test_a_column_that_means_something_else_is_told_with_both_types(
    open_parts: Callable[..., Source], one: Any, other: Any, tmp_path: Path
) -> None:
    parts = two("x", one, other)
    before, now = (part.schema.field("x").type for part in parts)
    with pytest.raises(DeepchecksSourceError) as caught:
        list(open_parts(parts, tmp_path).batches())
    message = str(caught.value)
    assert "Column 'x'" in message
    assert f"{before} before" in message
    assert f"is {now} " in message
    assert {of_files: "1.parquet", of_tuples: "rows from 2 on"}.get(open_parts, "in batch 1") in message


@pytest.mark.parametrize("open_parts", SOURCES)
def test_ids_that_become_floats_are_no_ids(open_parts: Callable[..., Source], tmp_path: Path) -> None:
    parts = two("id", 7, 8.0)
    with pytest.raises(DeepchecksColumnsError, match=r"from row 2 on\. Column 'id' is double.*not '1'"):
        values_of(open_parts(parts, tmp_path), "_dc_sample_id", None)


def test_chunks_of_a_csv_with_a_gap_in_the_second_pass() -> None:
    text = "id,at,guess,x\n" + "".join(f"{i},{PAST.isoformat()},1,{i if i < 3 else ''}\n" for i in range(4))
    chunks = pd.read_csv(io.StringIO(text), chunksize=3)
    assert values_of(open_frame(chunks), "x", "numeric") == ([0.0, 1.0, 2.0, None], [])


@pytest.mark.parametrize("kind", ["numeric", "boolean", "text", "datetime", "array_float"])
@pytest.mark.parametrize("rows", [[], [("a", PAST, 1.5, None)]])
def test_an_empty_result_or_column_fits_any_version(kind: str, rows: list[Any]) -> None:
    source = of_fetches(["id", "at", "guess", "x"], [rows] if rows else [])
    assert values_of(source, "x", kind) == ([None] * len(rows), [])


def test_bad_rows_before_and_after_the_first_text_are_in_one_quarantine(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    parts = [
        rows_of(1, id=pa.array([None], pa.string()), x=values) for values in (pa.nulls(1), pa.array(["q"]))
    ]
    checks = checker({"x": "text"})
    rules = BadRowRules("quarantine", "send", quarantine_path=path)
    with Intake(open_frame(iter(parts)), lambda: checks, rules) as intake:
        list(intake.batches())
    assert pq.read_table(path)["x"].to_pylist() == [None, "q"]
