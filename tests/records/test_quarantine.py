# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The quarantine file: all bad rows as read with their reasons, there as a whole or not at all."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.records import spool
from airflow_provider_deepchecks.records.columns import Columns
from airflow_provider_deepchecks.records.quarantine import Quarantine, beside
from tests.records.checking import check, checker, label_checker, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable


def _bad(rows: int = 2, first: int = 0) -> Any:
    return check(checker({"x": "integer"}), rows_of(rows, x=[0.5] * rows), first=first)


def _fill(path: Path | str, meanwhile: Callable[[], object] = lambda: None) -> None:
    with Quarantine(path) as quarantine:
        quarantine.add(_bad())
        meanwhile()


def test_rows_as_read_with_position_id_and_reasons(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    batch = rows_of(3, id=["a", None, "c"], x=[1.0, 2.5, 3.5])
    with Quarantine(str(path)) as quarantine:
        quarantine.add(check(checker({"x": "integer"}), batch, first=7))
        assert quarantine.rows == 2
        assert not path.exists()
    table = pq.read_table(path)
    assert table.schema.names == [*batch.schema.names, "_dc_row_position", "_dc_row_id", "_dc_row_reasons"]
    assert table.select(batch.schema.names).to_pylist() == batch.slice(1).to_pylist()
    assert table.column("_dc_row_position").to_pylist() == [8, 9]
    assert table.column("_dc_row_id").to_pylist() == [None, "c"]
    assert table.column("_dc_row_reasons").to_pylist() == [
        ["id: sample id is missing", "x: not a whole number: 2.5"],
        ["x: not a whole number: 3.5"],
    ]
    assert list(tmp_path.iterdir()) == [path]


def test_several_batches_make_one_file_in_few_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "GROUP_ROWS", 10)
    with Quarantine(tmp_path / "bad.parquet") as quarantine:
        for first in range(25):
            quarantine.add(_bad(1, first))
    file = pq.ParquetFile(tmp_path / "bad.parquet")
    assert file.read().column("_dc_row_position").to_pylist() == list(range(25))
    assert file.num_row_groups == 3


def test_nothing_is_written_without_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    with Quarantine(path) as quarantine:
        quarantine.add(check(checker(), rows_of(2)))
        assert quarantine.close() == []
    assert list(tmp_path.iterdir()) == []


def test_an_error_publishes_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    with pytest.raises(ZeroDivisionError):
        _fill(path, lambda: 1 / 0)
    assert pq.read_table(path).num_rows == 2


def test_a_file_of_an_earlier_attempt_is_replaced_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "GROUP_ROWS", 1)
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"old")
    with Quarantine(path) as quarantine:
        quarantine.add(_bad(5))
        assert path.read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 2
    assert pq.read_table(path).num_rows == 5
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["{}/bad.parquet", "memory://mapped/{}/bad.parquet"])
def test_mapped_tasks_do_not_replace_each_others_rows(tmp_path: Path, place: str) -> None:
    path = place.format(tmp_path)

    def quarantine(run: str, index: int, rows: int = 1, first: int = 0) -> None:
        with Quarantine(path, part=(run, index)) as kept:
            if rows:
                kept.add(_bad(rows, first))

    def positions_there() -> list[int]:
        with fsspec.open(path, "rb") as file:
            found: list[int] = pq.read_table(file).column("_dc_row_position").to_pylist()
            return found

    quarantine("run 1", 0)
    quarantine("run 1", 1, rows=0)
    with pytest.raises(DeepchecksConfigError, match=r"2 rows of this one .*\{\{ ti\.map_index \}\}") as error:
        quarantine("run 1", 1, rows=2)
    assert not error.value.retryable
    assert positions_there() == [0]
    # A retry of the same task, and the next run, take its place.
    quarantine("run 1", 0, first=5)
    assert positions_there() == [5]
    quarantine("run 2", 1, first=7)
    assert positions_there() == [7]
    assert [path.name for path in tmp_path.iterdir()] in ([], ["bad.parquet"])


def test_discard_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "GROUP_ROWS", 1)
    with Quarantine(tmp_path / "bad.parquet") as quarantine:
        quarantine.add(_bad())
        quarantine.discard()
        assert quarantine.rows == 0
    assert list(tmp_path.iterdir()) == []


def test_close_tells_the_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "bad.parquet"
    with Quarantine(path) as quarantine:
        quarantine.add(_bad())
        assert quarantine.close() == [str(path)]
        assert quarantine.close() == []


def test_rows_that_the_server_cannot_take_go_beside(tmp_path: Path) -> None:
    checked = check(checker({"x": "integer"}), rows_of(3, x=[1, 2, 3]), first=4)
    with Quarantine(tmp_path / "bad.parquet") as quarantine:
        quarantine.reject(checked.rows.slice(1, 1), "HTTP 500")
        quarantine.add(_bad())
        quarantine.reject(checked.rows.slice(2, 1), "HTTP 500")
        assert quarantine.rows == 4
        assert quarantine.close() == [str(tmp_path / "bad.parquet"), str(tmp_path / "bad-rejected.parquet")]
    table = pq.read_table(tmp_path / "bad-rejected.parquet")
    assert table.select(
        ["_dc_sample_id", "x", "_dc_row_position", "_dc_row_id", "_dc_row_reasons"]
    ).to_pylist() == [
        {
            "_dc_sample_id": f"s{number}",
            "x": number + 1,
            "_dc_row_position": number + 4,
            "_dc_row_id": f"s{number}",
            "_dc_row_reasons": ["HTTP 500"],
        }
        for number in (1, 2)
    ]
    assert "_dc_time" in table.schema.names
    assert "__time" not in table.schema.names


def test_a_corrected_file_can_be_sent_and_quarantined_again(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    with Quarantine(path) as quarantine:
        quarantine.add(_bad(3))
    (batch,) = pq.read_table(path).to_batches()
    place = batch.schema.get_field_index("x")
    corrected = batch.set_column(place, "x", pa.array([1.0, 2.0, 2.5]))
    checked = check(checker({"x": "integer"}), corrected)
    assert checked.rows.num_rows == 2
    with Quarantine(path) as quarantine:
        quarantine.add(checked)
    assert pq.read_table(path).column("_dc_row_position").to_pylist() == [2]


def test_any_column_of_a_source_can_be_kept(tmp_path: Path) -> None:
    raw = pa.py_buffer(b"caf\xe9")
    invalid = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 4], np.int32).tobytes()), raw]
    )
    columns = {
        "id": pa.array(["a"]),
        "truth": pa.array([None], pa.float64()),
        "decimal": pa.array([Decimal("1.50")]),
        "category": pa.array(["x"]).dictionary_encode(),
        "view": pa.array(["x"], pa.string_view()),
        "views": pa.array([["x"]], pa.list_(pa.string_view())),
        "interval": pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
        "nothing": pa.nulls(1),
        "half": pa.array(np.array([1.5], np.float16)),
        "nested": pa.array([{"a": [1, 2]}]),
        "bytes": pa.array([b"\xff"]),
        "invalid": invalid,
    }
    with Quarantine(tmp_path / "bad.parquet") as quarantine:
        quarantine.add(check(label_checker(), pa.RecordBatch.from_pydict(columns)))
    (row,) = pq.read_table(tmp_path / "bad.parquet").to_pylist()
    assert row["decimal"] == Decimal("1.50")
    assert (row["category"], row["view"], row["nothing"], row["half"]) == ("x", "x", None, 1.5)
    assert row["nested"] == {"a": [1, 2]}
    # Text where Parquet knows no views.
    assert row["views"] in (["x"], "['x']")
    assert "months=1" in row["interval"]
    assert row["invalid"] == "caf\ufffd"
    assert pl.read_parquet(tmp_path / "bad.parquet").height == 1


def test_times_that_parquet_cannot_hold_are_kept_as_text(tmp_path: Path) -> None:
    batch = rows_of(2, d=pa.array([2**60, 0], pa.timestamp("s", "UTC")))
    checks = checker({"d": "datetime"})
    with Quarantine(tmp_path / "bad.parquet") as quarantine:
        quarantine.add(check(checks, batch))
    assert pq.read_table(tmp_path / "bad.parquet")["d"].to_pylist() == [str(2**60)]


@pytest.mark.parametrize("rows", [1, 10_000])
def test_rows_of_batches_with_other_types_are_kept_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(spool, "GROUP_ROWS", rows)
    batches = [
        {"n": pa.nulls(2), "x": pa.array([1, 2], pa.int8()), "list": pa.nulls(2)},
        {"n": pa.array([1.5, 2.5]), "x": pa.array([2**40, 3]), "list": pa.array([[1], None])},
        {"n": pa.array([Decimal("2.50"), None]), "x": pa.array([5, 6], pa.int8()), "list": pa.nulls(2)},
        {"n": pa.array([None, 1e16]), "x": pa.array([7, 8]), "list": pa.array([[2], []])},
    ]
    with Quarantine(tmp_path / "bad.parquet") as quarantine:
        for number, columns in enumerate(batches):
            batch = rows_of(2, truth=[None, None], id=[f"{number}a", f"{number}b"], **columns)
            quarantine.add(check(label_checker(), batch, first=2 * number))
        assert quarantine.rows == 8
    table = pq.read_table(tmp_path / "bad.parquet")
    assert table["n"].to_pylist() == [None, None, "1.5", "2.5", "2.5", None, None, "10000000000000000"]
    assert table["x"].to_pylist() == [1, 2, 2**40, 3, 5, 6, 7, 8]
    assert table["list"].to_pylist() == [None, None, [1], None, None, None, [2], []]
    assert table["_dc_row_position"].to_pylist() == list(range(8))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.parquet"]


def test_another_reading_may_have_other_types(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "bad.parquet") as quarantine:
        quarantine.add(check(label_checker(), rows_of(1, truth=[None], n=["x"])))
        quarantine.discard()
        quarantine.add(check(label_checker(), rows_of(1, truth=[None], n=[1])))
    assert pq.read_table(tmp_path / "bad.parquet")["n"].to_pylist() == [1]


def test_object_storage_gets_one_upload() -> None:
    memory = fsspec.filesystem("memory")
    with Quarantine("memory://quarantine/day=1/bad.parquet") as quarantine:
        quarantine.add(_bad())
        assert not memory.exists("/quarantine/day=1/bad.parquet")
    with memory.open("/quarantine/day=1/bad.parquet") as file:
        assert pq.read_table(file).num_rows == 2
    memory.rm("/quarantine", recursive=True)


def test_an_object_storage_path_is_a_path() -> None:
    class StoragePath:
        """What Airflow's ObjectStoragePath has of a path."""

        def __init__(self, path: str) -> None:
            self.fs, self.path = fsspec.filesystem("memory"), path

        def __str__(self) -> str:
            return f"memory:/{self.path}"

        @property
        def parent(self) -> StoragePath:
            return StoragePath(self.path.rsplit("/", 1)[0])

        def __truediv__(self, name: str) -> StoragePath:
            return StoragePath(f"{self.path}/{name}")

    with Quarantine(StoragePath("/bucket/bad.parquet")) as quarantine:
        quarantine.add(_bad())
        quarantine.reject(check(checker(), rows_of(1)).rows, "HTTP 500")
    memory = fsspec.filesystem("memory")
    assert memory.ls("/bucket", detail=False) == ["/bucket/bad-rejected.parquet", "/bucket/bad.parquet"]
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    "path", ["nosuchprotocol://bucket/bad.parquet", "/proc/nowhere/bad.parquet", "/proc/bad.parquet"]
)
def test_a_place_that_cannot_be_written_is_told_at_the_start(path: str) -> None:
    with pytest.raises(DeepchecksConfigError, match="Check quarantine_path") as error:
        Quarantine(path).__enter__()
    assert path in str(error.value)


def _in_the_way(path: Path) -> None:
    (path / "in-the-way").mkdir(parents=True)


def test_a_failure_at_the_end_is_told_with_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    with pytest.raises(DeepchecksConfigError, match="with 2 rows cannot be written"):
        _fill(path, lambda: _in_the_way(path))
    assert list(tmp_path.iterdir()) == [path]


class SilentStorage(MemoryFileSystem):
    """Object storage that does not answer."""

    protocol = "silent"

    error: Exception

    def put_file(self, *_: Any, **__: Any) -> None:
        raise self.error


@pytest.mark.parametrize("error", [TimeoutError, type("EndpointConnectionError", (Exception,), {})])
def test_a_storage_that_does_not_answer_may_do_so_later(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are sent: the task's retries are there to have the file written."""
    fsspec.register_implementation("silent", SilentStorage, clobber=True)
    monkeypatch.setattr(SilentStorage, "error", error("no answer within 60 s"), raising=False)
    told = r"no answer within 60 s\. Check quarantine_path"
    with pytest.raises(DeepchecksConfigError, match=told) as silent:
        _fill("silent://bucket/bad.parquet")
    assert silent.value.retryable
    path = tmp_path / "bad.parquet"
    with pytest.raises(DeepchecksConfigError) as wrong:
        _fill(path, lambda: _in_the_way(path))
    assert not wrong.value.retryable


def test_a_failure_at_the_end_does_not_hide_the_runs_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "bad.parquet"

    def fail() -> None:
        _in_the_way(path)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _fill(path, fail)
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize(
    ("path", "sibling"),
    [
        ("bad.parquet", "bad-errors.parquet"),
        ("s3://b/k/bad.parquet", "s3://b/k/bad-errors.parquet"),
        ("/x/bad", "/x/bad-errors.parquet"),
        (Path("/x/bad.parquet"), Path("/x/bad-errors.parquet")),
    ],
)
def test_beside(path: Any, sibling: Any) -> None:
    assert beside(path, "errors") == sibling


def test_labels_keep_their_other_columns(tmp_path: Path) -> None:
    batch = rows_of(1, truth=[None], note=["n"])
    checked = check(label_checker(columns=Columns("id", label="truth")), batch)
    with Quarantine(tmp_path / "bad.parquet") as quarantine:
        quarantine.add(checked)
    assert pq.read_table(tmp_path / "bad.parquet").column("note").to_pylist() == ["n"]
