# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Ids that come twice in a run, compared with a plain set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.checks import unique
from airflow_provider_deepchecks.records.checks.unique import UniqueIds
from tests.records.checking import check, checker, reasons, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def _expected(batches: Iterable[list[str]]) -> list[list[bool]]:
    seen: set[str] = set()
    found = []
    for batch in batches:
        found.append([])
        for sample_id in batch:
            found[-1].append(sample_id in seen)
            seen.add(sample_id)
    return found


def _repeated(ids: UniqueIds, batch: list[str]) -> list[bool]:
    return [bool(flag) for flag in ids.repeated(pa.array(batch, pa.string()))]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds so small that a few rows fill the filter and go to files."""
    monkeypatch.setattr(unique, "_WORDS", 2)
    monkeypatch.setattr(unique, "_IN_MEMORY", 5)


batches = st.lists(st.lists(st.text("abc", max_size=3), max_size=30), max_size=8)


@given(batches)
def test_the_same_as_a_set(found: list[list[str]]) -> None:
    with UniqueIds() as ids:
        assert [_repeated(ids, batch) for batch in found] == _expected(found)


@given(batches)
@settings(max_examples=200)
def test_the_same_as_a_set_when_all_bounds_are_reached(found: list[list[str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unique, "_WORDS", 2)
        patch.setattr(unique, "_IN_MEMORY", 5)
        with UniqueIds() as ids:
            assert [_repeated(ids, batch) for batch in found] == _expected(found)


@given(batches)
@settings(max_examples=50)
def test_ids_that_share_half_of_their_hash_are_told_apart(found: list[list[str]]) -> None:
    whole = unique._hashes

    def halved(ids: pa.Array) -> unique.Hashes:
        hashes = whole(ids)
        hashes[0] &= np.uint64(1)
        return hashes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unique, "_IN_MEMORY", 5)
        patch.setattr(unique, "_hashes", halved)
        with UniqueIds() as ids:
            assert [_repeated(ids, batch) for batch in found] == _expected(found)


def _numbered(first: int, last: int) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar("id"), pa.array(range(first, last)).cast(pa.string()), "-")


def test_many_ids_with_some_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique, "_IN_MEMORY", 50_000)
    with UniqueIds(tmp_path) as ids:
        for start in range(0, 300_000, 20_000):
            assert not ids.repeated(_numbered(start, start + 20_000)).any()
        again = ids.repeated(_numbered(290_000, 310_000))
        assert again[:10_000].all()
        assert not again[10_000:].any()
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("tiny")
def test_memory_holds_a_bounded_number_of_hashes(tmp_path: Path) -> None:
    with UniqueIds(tmp_path) as ids:
        for start in range(0, 100, 4):
            ids.repeated(_numbered(start, start + 4))
            assert sum(part.shape[1] for part in ids._recent) < 5 + 4
        assert ids._words.size == 2


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique, "_IN_MEMORY", 10)
    missing = tmp_path / "nowhere"
    with (
        UniqueIds(missing) as ids,
        pytest.raises(DeepchecksSourceError, match=f"could not be written to {missing}: .*TMPDIR"),
    ):
        ids.repeated(pa.array([f"s{number}" for number in range(20)]))


def test_no_file_is_made_for_few_ids(tmp_path: Path) -> None:
    with UniqueIds(tmp_path) as ids:
        ids.repeated(_numbered(0, 1000))
        assert not list(tmp_path.iterdir())


def test_empty_batches() -> None:
    with UniqueIds() as ids:
        assert _repeated(ids, []) == []


def test_repeated_rows_are_set_aside_as_read() -> None:
    checks = checker()
    with UniqueIds() as ids:
        first = ids.check(check(checks, rows_of(3, id=["a", "b", "a"])))
        second = ids.check(check(checks, rows_of(3, id=["c", "b", "a"]), first=3))
    assert reasons(first) == {2: ["sample id twice in this run"]}
    assert reasons(second) == {4: ["sample id twice in this run"], 5: ["sample id twice in this run"]}
    (row, _) = second.bad_rows()
    assert (row.sample_id, row.column, row.detail) == ("b", "id", "sample id twice in this run: 'b'")
    assert second.rows.column("_dc_sample_id").to_pylist() == ["c"]


def test_a_bad_row_does_not_take_the_id_from_a_good_one() -> None:
    batch = rows_of(2, id=["a", "a"], guess=[None, 1.0])
    with UniqueIds() as ids:
        checked = ids.check(check(checker(), batch))
    assert reasons(checked) == {0: ["value is missing"]}
    assert checked.rows.num_rows == 1


def test_integer_ids_and_their_text_are_the_same_id() -> None:
    checks = checker()
    with UniqueIds() as ids:
        ids.check(check(checks, rows_of(id=[7])))
        assert reasons(ids.check(check(checks, rows_of(id=["7"]), first=1))) == {
            1: ["sample id twice in this run"]
        }


@pytest.mark.parametrize("in_memory", [2**20, 300])
def test_many_repeated_ids(in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique, "_IN_MEMORY", in_memory)
    rng = np.random.default_rng(7)
    found = [[f"s{number}" for number in rng.integers(0, 900, 400)] for _ in range(5)]
    with UniqueIds() as ids:
        assert [_repeated(ids, batch) for batch in found] == _expected(found)
