# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows leave in the order of time and id, all of them, however little memory there is."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records import order
from airflow_provider_deepchecks.records.order import (
    ensure_ordered,
    in_time_order,
    is_sorted,
    sort_batches,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Key = tuple[int, str]

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def batch_of(keys: list[Key], first: int = 0) -> pa.RecordBatch:
    """Rows with a time (microseconds after START), an id, a position and something to carry along."""
    times = np.array([time for time, _ in keys], dtype="int64") + int(START.timestamp() * 1e6)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(times).cast(pa.timestamp("us", "UTC")),
            pa.array([id_ for _, id_ in keys], pa.string()),
            pa.array(range(first, first + len(keys)), pa.int64()),
            pa.array([f"row {time} {id_}" for time, id_ in keys], pa.string()),
            pa.array([id_[:1] for _, id_ in keys], pa.string()).dictionary_encode(),
        ],
        names=[order.TIME, order.ID, order.POSITION, "x", "c"],
    )


def batches_of(parts: list[list[Key]]) -> Iterator[pa.RecordBatch]:
    first = 0
    for part in parts:
        yield batch_of(part, first)
        first += len(part)


def rows_of(batches: list[pa.RecordBatch]) -> list[tuple[Key, int, str, str]]:
    start = int(START.timestamp() * 1e6)
    return [
        ((int(time) - start, id_), position, x, c)
        for batch in batches
        for time, id_, position, x, c in zip(
            batch.column(order.TIME).cast(pa.int64()).to_numpy(),
            *(batch.column(name).to_pylist() for name in (order.ID, order.POSITION, "x", "c")),
            strict=True,
        )
    ]


def expected(parts: list[list[Key]]) -> list[tuple[Key, int, str, str]]:
    keys = [key for part in parts for key in part]
    rows = [(key, position, f"row {key[0]} {key[1]}", key[1][:1]) for position, key in enumerate(keys)]
    return sorted(rows)


KEYS = st.tuples(st.integers(0, 6), st.text(st.characters(codec="utf-8"), max_size=3))
PARTS = st.lists(st.lists(KEYS, max_size=12), max_size=12)


@given(PARTS, st.sampled_from([1, 300, 2000, 10_000, 10**9]), st.integers(2, 4), st.integers(1, 7))
@settings(max_examples=150)
def test_any_rows_in_any_memory_come_out_sorted(
    parts: list[list[Key]], memory: int, fan_in: int, rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "FAN_IN", fan_in)
        patch.setattr(order, "BATCH_ROWS", rows)
        batches = list(sort_batches(batches_of(parts), memory_bytes=memory))
    found = rows_of(batches)
    # Rows that are equal in time and id are two of one sample; which of them leaves first says the position,
    # but only within what is in memory at a time.
    assert [row[0] for row in found] == [row[0] for row in expected(parts)]
    assert sorted(found) == expected(parts)
    if parts:
        assert len({str(batch.schema) for batch in batches}) == 1


def test_many_runs_are_merged_in_several_passes(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    parts = [
        [(int(time), f"id-{number}") for number, time in enumerate(random.integers(0, 10**9, 500))]
        for _ in range(120)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "FAN_IN", 5)
        batches = list(sort_batches(batches_of(parts), memory_bytes=60_000, directory=str(tmp_path)))
    assert [row[0] for row in rows_of(batches)] == sorted(key for part in parts for key in part)


def test_ids_sort_by_their_bytes() -> None:
    ids = ["b", "B", "é", "a", "10", "9", "😀", "\uffff", ""]
    (batch,) = sort_batches(batches_of([[(0, id_) for id_ in ids]]))
    assert batch.column(order.ID).to_pylist() == sorted(ids, key=str.encode)


def test_no_rows_keep_their_columns_and_none_is_none() -> None:
    (batch,) = sort_batches(batches_of([[], []]))
    assert (batch.num_rows, batch.schema) == (0, batch_of([]).schema)
    assert list(sort_batches([])) == []


def test_rows_of_many_sizes_stay_within_memory(tmp_path: Path) -> None:
    rows = 400_000
    times = np.random.default_rng(7).permutation(rows)

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, rows, 20_000):
            yield batch_of(
                [(int(time), f"sample-{time:09}") for time in times[start : start + 20_000]], start
            )

    before = pa.total_allocated_bytes()
    most, last, count = 0, -1, 0
    for batch in sort_batches(batches(), memory_bytes=8 * 2**20, directory=str(tmp_path)):
        most = max(most, pa.total_allocated_bytes() - before)
        stamps = batch.column(order.TIME).cast(pa.int64()).to_numpy() - int(START.timestamp() * 1e6)
        assert stamps[0] == last + 1
        assert (np.diff(stamps) == 1).all()
        last, count = int(stamps[-1]), count + batch.num_rows
        assert os.listdir(tmp_path) == []
    assert (count, last) == (rows, rows - 1)
    # 400,000 rows are 34 MiB.
    assert most < 12 * 2**20


def test_dictionaries_of_many_batches_are_made_one(tmp_path: Path) -> None:
    parts = [[(n * 100 + i, f"{letter}{i}") for i in range(50)] for n, letter in enumerate("abcdef")]
    for memory in (2000, 10**9):
        batches = list(sort_batches(batches_of(parts), memory_bytes=memory, directory=str(tmp_path)))
        assert [row[3] for row in rows_of(batches)] == [letter for letter in "abcdef" for _ in range(50)]


def test_stopping_early_closes_the_source_and_leaves_no_file(tmp_path: Path) -> None:
    closed = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for n in range(1000):
                yield batch_of([(n, "a")] * 100)
        finally:
            closed.append(True)

    descriptors = len(os.listdir("/proc/self/fd"))
    for sorting in (
        sort_batches(batches(), memory_bytes=100_000, directory=str(tmp_path)),
        ensure_ordered(batches()),
    ):
        next(sorting)
        sorting.close()
    assert closed == [True, True]
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert os.listdir(tmp_path) == []


def test_an_error_of_the_source_passes_and_leaves_no_file(tmp_path: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        for n in range(100):
            yield batch_of([(n, "a")] * 100)
        raise DeepchecksSourceError("broken")

    with pytest.raises(DeepchecksSourceError, match=r"^broken$"):
        list(sort_batches(batches(), memory_bytes=10_000, directory=str(tmp_path)))
    assert os.listdir(tmp_path) == []


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    with pytest.raises(DeepchecksSourceError, match=rf"could not be written to {missing}.*TMPDIR"):
        list(sort_batches(batches_of([[(1, "a")] * 100] * 10), memory_bytes=100, directory=missing))


# -- rows that come in order ---------------------------------------------------------------------------------


def test_ordered_rows_pass_through_untouched() -> None:
    parts = [[(0, "b"), (0, "a")], [], [(0, "c"), (5, "a")], [(5, "0")]]
    given_batches = list(batches_of(parts))
    passed = list(in_time_order(given_batches, ordered=True))
    assert all(one is other for one, other in zip(passed, given_batches, strict=True))


@pytest.mark.parametrize(
    ("parts", "good"),
    [([[(0, "a"), (7, "b"), (3, "c")]], 0), ([[(0, "a"), (7, "b")], [], [(3, "c"), (9, "d")]], 2)],
)
def test_rows_that_only_claim_an_order_are_told(parts: list[list[Key]], good: int) -> None:
    passing: Any = in_time_order(batches_of(parts), ordered=True)
    passed = [next(passing) for _ in range(good)]
    told = r"sample c of 2026-01-01 00:00:00.000003.* comes after sample b of 2026-01-01 00:00:00.000007"
    with pytest.raises(DeepchecksSourceError, match=told):
        next(passing)
    assert len(passed) == good


def test_sorted_is_the_default() -> None:
    batches = list(in_time_order(batches_of([[(2, "a")], [(1, "a")]])))
    assert [row[0][0] for row in rows_of(batches)] == [1, 2]
    assert pc.min(batches[0].column(order.TIME)).as_py() == START + dt.timedelta(microseconds=1)


def instants(*seconds: float | None) -> pa.Array:
    moments = [None if second is None else dt.datetime.fromtimestamp(second, dt.UTC) for second in seconds]
    return pa.array(moments, pa.timestamp("us", "UTC"))


@pytest.mark.parametrize(
    ("times", "ids", "naive_is_utc", "expected"),
    [
        (instants(1, 2, 3), ["c", "b", "a"], False, True),
        (instants(1, 3, 2), ["a", "b", "c"], False, False),
        (instants(1, 2, 2, 2), ["b", "a", "b", "c"], False, True),
        (instants(1, 2, 2, 3), ["a", "c", "b", "a"], False, False),
        (instants(1, 2, None), ["a", "b", "c"], False, False),
        (instants(1, 2, 2), ["a", "b", None], False, False),
        # As text 10 comes before 9.
        (instants(1, 2, 2), [1, 9, 10], False, False),
        (instants(1, 2, 3), [1, 9, 10], False, True),
        ([1, 2, 3], ["a", "b", "c"], False, True),
        ([1.5, 1.25], ["a", "b"], False, False),
        ([1.5, float("nan"), 2.5], ["a", "b", "c"], False, False),
        (instants(1, 2).cast(pa.timestamp("us")), ["a", "b"], True, True),
        (instants(1, 2).cast(pa.timestamp("us")), ["a", "b"], False, False),
        (["2026-01-01", "2026-01-02"], ["a", "b"], True, False),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 10])
def test_rows_seen_to_be_in_order(
    times: Any, ids: list[Any], naive_is_utc: bool, expected: bool, size: int
) -> None:
    table = pa.table({"time": times, "id": ids})
    assert is_sorted(table.to_batches(size), naive_is_utc=naive_is_utc) is expected
