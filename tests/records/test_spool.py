# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows on disk. What is published whole is tested with the quarantine file and with the ids sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_deepchecks.records import spool as module
from airflow_provider_deepchecks.records.spool import Spool, copy_whole

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = pa.schema([("n", pa.int64())])


def numbers(*values: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array(values, pa.int64())], schema=SCHEMA)


def read(spool: Spool) -> list[int]:
    return [value for batch in spool.batches() for value in batch.column(0).to_pylist()]


@pytest.mark.parametrize("limit", ["GROUP_ROWS", "GROUP_BYTES"])
def test_single_rows_make_few_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(module, limit, 10 if limit == "GROUP_ROWS" else 80)
    path = tmp_path / "rows.parquet"
    with Spool(new_file=lambda: path) as spool:
        for number in range(9):
            spool.add(numbers(number))
        assert not path.exists()
        for number in range(9, 25):
            spool.add(numbers(number))
        assert path.exists()
        assert pq.ParquetFile(spool.finish()).num_row_groups == 3
        assert spool.rows == 25
        assert read(spool) == list(range(25))
        assert read(spool) == list(range(25))
    assert list(tmp_path.iterdir()) == []


def test_it_can_start_anew() -> None:
    with Spool() as spool:
        spool.add(numbers(1))
        assert read(spool) == [1]
        spool.discard()
        assert (spool.rows, read(spool)) == (0, [])
        spool.add(pa.record_batch({"other": ["a"]}))
        assert read(spool) == ["a"]


def test_no_rows_are_a_file_where_the_schema_is_known() -> None:
    with Spool(SCHEMA) as spool:
        assert pq.read_table(spool.finish()).schema == SCHEMA
        assert read(spool) == []


def test_a_copy_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"rows")
    (target / "in-the-way").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        copy_whole(source, str(target))
    assert sorted(tmp_path.iterdir()) == [source, target]
