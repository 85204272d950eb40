# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Chunks hold every row once and in order, within their bounds, however the rows came."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_deepchecks.records.chunks.chunker import Chunk, ChunkSizer, chunks
from airflow_provider_deepchecks.records.chunks.encode import encode_samples
from airflow_provider_deepchecks.records.chunks.sizes import estimated_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
#: Keys of the rows below, id and time included.
COLUMNS = 4


def _rows(texts: Sequence[str], first: int = 0) -> pa.RecordBatch:
    numbers = range(first, first + len(texts))
    return pa.RecordBatch.from_pydict(
        {
            "_dc_sample_id": pa.array([f"s{n}" for n in numbers], pa.string()),
            "__time": pa.array([NOON + timedelta(seconds=n) for n in numbers], pa.timestamp("us", tz="UTC")),
            "_dc_prediction": pa.array([n / 7 for n in numbers], pa.float64()),
            "text": pa.array(list(texts), pa.string()),
            "__position": pa.array(numbers, pa.int64()),
        }
    )


def _stream(sizes: Sequence[int], text: str = "x") -> list[pa.RecordBatch]:
    firsts = [sum(sizes[:n]) for n in range(len(sizes))]
    return [_rows([text] * size, first) for first, size in zip(firsts, sizes, strict=True)]


def _ids(cut: Sequence[Chunk]) -> list[str]:
    return [sample_id for chunk in cut for sample_id in chunk.sample_ids()]


@given(
    sizes=st.lists(st.integers(0, 40), max_size=12),
    texts=st.lists(st.sampled_from(["", "x" * 10, "\x01" * 50, "y" * 400]), min_size=1, max_size=5),
    max_rows=st.integers(1, 50),
    max_bytes=st.integers(1, 5000),
    max_cells=st.integers(1, 200),
)
def test_every_row_once_in_order_and_within_bounds(
    sizes: list[int], texts: list[str], max_rows: int, max_bytes: int, max_cells: int
) -> None:
    total = sum(sizes)
    rows = _rows([texts[n % len(texts)] for n in range(total)])
    stream, first = [], 0
    for size in sizes:
        stream.append(rows.slice(first, size))
        first += size
    cut = list(chunks(stream, ChunkSizer(max_rows, max_bytes, max_cells)))
    assert [row for chunk in cut for row in json.loads(chunk.body)] == json.loads(Chunk(rows).body)
    for chunk in cut:
        assert 1 <= chunk.rows <= max(1, min(max_rows, max_cells // COLUMNS))
        assert len(chunk.body) <= max_bytes or chunk.rows == 1
    # No chunk is cut without need: put together with the row after it, it would break a bound.
    bodies = [len(chunk.body) for chunk in cut]
    for (chunk, later), body in zip(pairwise(cut), bodies, strict=False):
        full = chunk.rows == max(1, min(max_rows, max_cells // COLUMNS))
        # The size is an estimate, at worst off by the six bytes that an escaped control character takes.
        assert full or body + len(later.split(1)[0].body if later.rows > 1 else later.body) > max_bytes / 8


def test_tiny_batches_are_put_together() -> None:
    cut = list(chunks(_stream([1] * 2500), ChunkSizer(max_rows=1000)))
    assert [chunk.rows for chunk in cut] == [1000, 1000, 500]
    assert _ids(cut) == [f"s{n}" for n in range(2500)]


def test_large_batch_is_cut() -> None:
    cut = list(chunks(_stream([25_000])))
    assert [chunk.rows for chunk in cut] == [10_000, 10_000, 5_000]


def test_chunk_is_given_out_as_soon_as_it_is_full() -> None:
    read = []

    def source() -> Any:
        for batch in _stream([10] * 5):
            read.append(batch.num_rows)
            yield batch

    cut = chunks(source(), ChunkSizer(max_rows=20))
    assert next(cut).rows == 20
    assert len(read) == 2


def test_cells_bound_wide_rows() -> None:
    wide = pa.RecordBatch.from_pydict(
        {f"f{n}": pa.array([1.0] * 10_000) for n in range(198)}
        | {name: _rows(["x"] * 10_000)[name] for name in ("_dc_sample_id", "__time")}
    )
    cut = list(chunks([wide], ChunkSizer(max_bytes=10**9)))
    assert {chunk.rows for chunk in cut} == {2000}


def test_no_body_is_encoded_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of about the same size are estimated well enough to be encoded once."""
    encoded: list[int] = []

    def encode(batch: pa.RecordBatch) -> bytes:
        encoded.append(batch.num_rows)
        return encode_samples(batch)

    monkeypatch.setattr("airflow_provider_deepchecks.records.chunks.chunker.encode_samples", encode)
    random = Random(1)
    rows = _rows(["y" * random.randrange(40) for _ in range(20_000)])
    cut = list(chunks([rows.slice(n, 3000) for n in range(0, 20_000, 3000)], ChunkSizer(max_bytes=300_000)))
    # The first chunk shows how large numbers are.
    assert encoded[1:] == [chunk.rows for chunk in cut][1:]


def test_bytes_are_used_well() -> None:
    """The estimate learns from the bodies: after the first chunks they come close to the bound."""
    cut = list(chunks(_stream([5000] * 10), ChunkSizer(max_bytes=100_000)))
    sizes = [len(chunk.body) for chunk in cut[1:-1]]
    assert max(sizes) <= 100_000
    assert min(sizes) > 90_000


def test_huge_text_is_not_encoded_in_vain() -> None:
    """Rows that grow suddenly are seen before the encoder sees them, dictionary columns as well."""
    small, large = _rows(["x"] * 5000), _rows(["y" * 100_000] * 200, 5000)
    large = large.set_column(3, "text", large["text"].dictionary_encode())
    small = small.set_column(3, "text", small["text"].dictionary_encode())
    cut = list(chunks([small, large], ChunkSizer(max_bytes=1_000_000)))
    assert _ids(cut) == [f"s{n}" for n in range(5200)]
    assert max(len(chunk.body) for chunk in cut) <= 1_000_000
    assert len(cut) <= 26


def test_row_larger_than_the_bound_goes_alone() -> None:
    cut = list(chunks([_rows(["x", "y" * 5000, "z"])], ChunkSizer(max_bytes=1000)))
    assert [chunk.sample_ids() for chunk in cut] == [["s0"], ["s1"], ["s2"]]


def test_batches_with_different_dictionaries_go_into_one_chunk() -> None:
    stream = [
        batch.set_column(3, "text", batch["text"].dictionary_encode())
        for batch in (_rows("ab"), _rows("cb", 2))
    ]
    (chunk,) = chunks(stream)
    assert [row["text"] for row in json.loads(chunk.body)] == ["a", "b", "c", "b"]


def test_no_rows_no_chunks() -> None:
    assert list(chunks([])) == []
    assert list(chunks([_rows([])])) == []


def test_body_is_encoded_once() -> None:
    chunk = Chunk(_rows(["x"]))
    assert chunk.body is chunk.body


def test_times_of_a_chunk() -> None:
    chunk = Chunk(_rows(["x"] * 3, first=5))
    assert chunk.first_time == NOON + timedelta(seconds=5)
    assert chunk.last_time == NOON + timedelta(seconds=7)
    without = Chunk(chunk.batch.drop_columns(["__time"]), "labels")
    assert without.first_time is without.last_time is None


def test_split_keeps_all_rows_in_order() -> None:
    chunk = Chunk(_rows(["x"] * 5))
    first, second = chunk.split(2)
    assert (first.sample_ids(), second.sample_ids()) == (["s0", "s1"], ["s2", "s3", "s4"])
    assert json.loads(first.body) + json.loads(second.body) == json.loads(chunk.body)


@pytest.mark.parametrize("at", [-1, 0, 5, 6])
def test_split_leaves_no_part_empty(at: int) -> None:
    with pytest.raises(ValueError, match=f"5 rows at {at}"):
        Chunk(_rows(["x"] * 5)).split(at)


@pytest.mark.parametrize(("received", "left"), [(0, ["s0", "s1", "s2"]), (2, ["s2"]), (3, [])])
def test_tail_is_what_was_not_received(received: int, left: list[str]) -> None:
    assert Chunk(_rows(["x"] * 3)).tail(received).sample_ids() == left


def test_labels_that_came_with_samples() -> None:
    batch = _rows(["x"] * 3).append_column("_dc_label", pa.array(["a", None, "b"]))
    labels = Chunk(batch).labels()
    assert labels is not None
    assert json.loads(labels.body) == [
        {"_dc_sample_id": "s0", "_dc_label": "a"},
        {"_dc_sample_id": "s2", "_dc_label": "b"},
    ]
    assert "_dc_label" not in json.loads(Chunk(batch).body)[0]
    assert Chunk(batch.slice(1, 1)).labels() is None
    assert Chunk(_rows(["x"])).labels() is None


def test_label_chunks_are_small_and_keep_nulls() -> None:
    batch = _rows(["x"] * 4500).append_column("_dc_label", pa.array([None, *["a"] * 4499]))
    cut = list(chunks([batch], kind="labels"))
    assert [chunk.rows for chunk in cut] == [2000, 2000, 500]
    assert json.loads(cut[0].body)[:2] == [
        {"_dc_sample_id": "s0", "_dc_label": None},
        {"_dc_sample_id": "s1", "_dc_label": "a"},
    ]


def test_bounds_change_while_running() -> None:
    sizer = ChunkSizer(max_rows=800)
    cut = chunks(_stream([10_000]), sizer)
    first = next(cut)
    sizer.too_slow(first)
    assert next(cut).rows == 400
    grown = []
    for chunk in cut:
        grown.append(chunk.rows)
        sizer.recover()
    assert grown[:2] == [400, 450]
    assert max(grown) == 800
    assert first.rows + 400 + sum(grown) == 10_000


def test_size_that_a_proxy_refused_is_not_tried_again() -> None:
    sizer = ChunkSizer()
    cut = chunks(_stream([60_000]), sizer)
    refused = next(cut)
    sizer.too_large(refused)
    for chunk in cut:
        assert len(chunk.body) <= len(refused.body) // 2
        sizer.recover()


def test_bounds_never_reach_zero() -> None:
    sizer = ChunkSizer()
    one = Chunk(_rows(["x"]))
    for _ in range(100):
        sizer.too_slow(one)
        sizer.too_large(one)
    assert [chunk.rows for chunk in chunks(_stream([3]), sizer)] == [1, 1, 1]


@pytest.mark.parametrize("bounds", [{"max_rows": 0}, {"max_bytes": 0}, {"max_cells": -1}])
def test_bounds_below_one_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ChunkSizer(**bounds)


def test_estimate_is_exact_but_for_numbers_and_escapes() -> None:
    columns = {"a": ["xyz", "é", None], "b": pa.array(["q", None, "longer"]).dictionary_encode()}
    batch = pa.RecordBatch.from_pydict(columns)
    exact = [
        len(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()) for row in batch.to_pylist()
    ]
    estimate = estimated_bytes(batch, {"a": "a", "b": "b"})
    assert all(abs(guess - size) <= 2 for guess, size in zip(estimate, exact, strict=True))


def test_estimate_grows_with_lists() -> None:
    kind = pa.list_(pa.list_(pa.float64()))
    nested = pa.array([[[0.1] * 3] * 100, [[0.1] * 3], None, []], kind)
    batch = pa.RecordBatch.from_pydict({"a": nested})
    sizes = estimated_bytes(batch, {"a": "a"})
    assert sizes[0] > 5000
    assert sizes[1] < 200
    assert max(sizes[2], sizes[3]) <= sizes[1]
