# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from airflow_provider_deepchecks.delivery.ids import SavedIds, SentIds, ours
from airflow_provider_deepchecks.exceptions import DeepchecksSourceError, DeepchecksWriteBackError
from tests.delivery.conftest import rows

if TYPE_CHECKING:
    from pathlib import Path


def all_ids(ids: SentIds | SavedIds) -> list[str]:
    return [sample_id for batch in ids.batches() for sample_id in batch.column(0).to_pylist()]


@pytest.mark.parametrize("url", ["{}/deep/ids.parquet", "memory://ids/{}.parquet"])
def test_ids_are_kept_and_saved(tmp_path: Path, url: str) -> None:
    target = url.format(tmp_path)
    with SentIds() as ids:
        for first in range(0, 200_000, 40_000):
            ids.add(rows(40_000, first=first))
        ids.save(target)
        assert ids.rows == 200_000
        assert all_ids(ids) == [f"s{n}" for n in range(200_000)]
    saved = SavedIds(target)
    assert saved.rows == 200_000
    assert all_ids(saved)[-1] == "s199999"
    assert ours(saved, {"s5", "s199999", "x"}) == {"s5", "s199999"}
    assert ours(saved, set()) == set()


def test_ids_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    with SentIds() as ids:
        ids.add(rows(5))
        with pytest.raises(DeepchecksWriteBackError, match=r"could not be kept in ids_path=.*Is a directory"):
            ids.save(tmp_path)


def test_the_temporary_file_goes_away() -> None:
    with SentIds() as ids:
        ids.add(rows(5))
        list(ids.batches())
        path = ids._spool.path
        assert path is not None
        assert path.exists()
    assert not path.exists()


def test_an_upload_that_starts_again_forgets() -> None:
    with SentIds() as ids:
        ids.add(rows(100_000))
        ids.reset()
        ids.add(rows(2, first=7))
        assert all_ids(ids) == ["s7", "s8"]


def test_dictionaries_are_ids_too() -> None:
    with SentIds() as ids:
        batch = rows(3)
        ids.add(batch.set_column(0, "_dc_sample_id", batch.column(0).dictionary_encode()))
        assert all_ids(ids) == ["s0", "s1", "s2"]


def test_no_ids_make_an_empty_file(tmp_path: Path) -> None:
    with SentIds() as ids:
        ids.save(tmp_path / "ids.parquet")
        assert all_ids(ids) == []
    assert all_ids(SavedIds(str(tmp_path / "ids.parquet"))) == []


def test_a_file_that_goes_away_is_said_clearly(tmp_path: Path) -> None:
    """A storage that fails in the middle of a look is one more failed look, not the end of the wait."""
    path = tmp_path / "ids.parquet"
    with SentIds() as ids:
        ids.add(rows(5))
        ids.save(path)
    saved = SavedIds(str(path))
    path.unlink()
    with pytest.raises(DeepchecksSourceError, match=r"Reading the ids .*ids\.parquet failed") as gone:
        ours(saved, {"s1"})
    assert gone.value.retryable


def test_a_file_that_is_none_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(DeepchecksSourceError, match="cannot be read"):
        SavedIds(str(tmp_path / "missing.parquet"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DeepchecksSourceError, match="cannot be read"):
        SavedIds(str(tmp_path / "text"))
    import pyarrow as pa

    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DeepchecksSourceError, match="holds no ids"):
        SavedIds(str(tmp_path / "other.parquet"))
