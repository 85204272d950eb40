# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Files of each format, on disk and in an object store, give the rows that were written, or a clear error."""

from __future__ import annotations

import bz2
import contextlib
import datetime as dt
import gzip
import io
import json
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from fsspec import AbstractFileSystem
from pyarrow import feather
from pyarrow import parquet as pq

from airflow_provider_deepchecks.exceptions import DeepchecksColumnsError, DeepchecksSourceError
from airflow_provider_deepchecks.records.sources import formats
from airflow_provider_deepchecks.records.sources.source import open_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.services import ObjectStore

TABLE = pa.table(
    {
        "id": ["007", 'é,\n"x"', "c"],
        "n": pa.array([1, None, 2**60], pa.int64()),
        "x": [0.5, None, -1.5],
        "ok": [True, False, None],
        "when": pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * 3, pa.timestamp("us", "UTC")),
    }
)


def read(*paths: Any, **options: Any) -> pa.Table:
    source = open_files(paths, **options)
    batches = list(source.batches())
    assert batches
    assert all(batch.schema.names == batches[0].schema.names for batch in batches)
    return pa.concat_tables(
        [pa.Table.from_batches([batch]) for batch in batches], promote_options="permissive"
    )


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, default=str).encode() + b"\n" for row in rows)


def write_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)


WRITERS: dict[str, Callable[[pa.Table, Path], Any]] = {
    "rows.parquet": lambda table, path: pq.write_table(table, path),
    "rows.pq": lambda table, path: pq.write_table(table, path, row_group_size=1),
    "rows.arrow": lambda table, path: pl.DataFrame(table).write_ipc(
        path, compat_level=pl.CompatLevel.oldest()
    ),
    "rows.feather": lambda table, path: feather.write_feather(table, path, compression="zstd"),
    "rows.arrows": write_stream,
}


@pytest.mark.parametrize("name", WRITERS)
def test_typed_formats_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](TABLE, path)
    source = open_files([path])
    assert (source.rereadable, source.ordered, source.untyped) == (True, False, False)
    assert read(path).to_pylist() == TABLE.to_pylist()
    assert read(path).to_pylist() == TABLE.to_pylist()


def test_csv_is_text_with_null_apart_from_empty(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'\xef\xbb\xbfid,n,note\r\n007,1,\r\n"a ""b"",\nc",2.5,""\r\n\r\nNA,NaN,None\r\n')
    source = open_files([path])
    assert source.untyped
    assert read(path).to_pylist() == [
        {"id": "007", "n": "1", "note": None},
        {"id": 'a "b",\nc', "n": "2.5", "note": ""},
        {"id": "NA", "n": "NaN", "note": "None"},
    ]


def test_csv_of_one_column_keeps_its_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"id\na\n\nb\n")
    assert read(path)["id"].to_pylist() == ["a", None, "b"]


@pytest.mark.parametrize("before", [b"\n", b"\r\n\r\n", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("columns", [1, 2])
def test_empty_lines_before_the_header_are_passed_over(before: bytes, columns: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(before + (b"a,b\n1,2\n" if columns == 2 else b"a\n1\n\n"))
    expected = {"a": ["1"], "b": ["2"]} if columns == 2 else {"a": ["1", None]}
    assert read(path).to_pydict() == expected


def test_tabs_separate_in_tsv(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes(b"a\tb\n1,5\t2\n")
    assert read(path).to_pylist() == [{"a": "1,5", "b": "2"}]


def test_csv_of_pandas_gives_its_values_back(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    frame = pd.DataFrame({"id": ["007", "b"], "x": [0.1, None], "s": ["", None]})
    frame.to_csv(path, index=False)
    assert read(path).to_pylist() == [
        # pandas writes empty text and a missing value alike.
        {"id": "007", "x": "0.1", "s": None},
        {"id": "b", "x": None, "s": None},
    ]


def test_json_lines_keep_the_types_of_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"id": "007", "n": 1, "x": 1, "when": "2026-01-01T00:00:00+02:00", "list": [1, 2.5], "no": None},
        {"id": "b", "n": None, "x": 2.5, "when": "soon", "list": [], "ok": True},
    ]
    path.write_bytes(json_lines(rows))
    table = read(path)
    assert table.schema.field("x").type == pa.float64()
    assert table.schema.field("when").type == pa.string()
    assert table.to_pylist() == [{**row, "no": None, "ok": row.get("ok")} for row in rows]


def test_json_types_hold_for_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "BLOCK_BYTES", 64)
    path = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [{"n": 1, "s": None, "t": "2026-01-01"} for _ in range(50)]
    rows += [{"n": 0.5, "s": "x", "t": "later", "new": True}]
    path.write_bytes(json_lines(rows)[:-1])
    source = open_files([path])
    batches = list(source.batches())
    assert len(batches) > 10
    assert {str(batch.schema) for batch in batches} == {"n: double\ns: string\nt: string\nnew: bool"}
    assert pa.Table.from_batches(batches).to_pylist()[-1] == rows[-1]


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_blocks_of_lines_lose_nothing(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "BLOCK_BYTES", size)
    path = tmp_path / "rows.ndjson"
    path.write_bytes(b'{"a":1}\r\n\n{"a":22222}\n  \n{"a":3}')
    assert read(path)["a"].to_pylist() == [1, 22222, 3]


@pytest.mark.parametrize("size", [2, 8, 2**20])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n "])
def test_a_null_among_json_lines_is_a_row_without_values(
    start: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "BLOCK_BYTES", size)
    path = tmp_path / "rows.jsonl"
    path.write_text(start + 'null\nnull\n{"a":1.5}\nnull\n{"a":12345678901234567890}\n')
    assert read(path)["a"].to_pylist() == [None, None, Decimal("1.5"), None, 12345678901234567890]


@pytest.mark.parametrize("lists", [[[None, None], [], None, [None]], [[[None, None]], [[], None]]])
def test_json_lists_of_nulls_are_read_as_they_are(lists: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"a": one, "b": {"c": one}} for one in lists]
    path.write_bytes(json_lines(rows))
    assert read(path).to_pylist() == rows


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2"])
def test_compressed_files_of_several_parts_are_read_to_the_end(suffix: str, tmp_path: Path) -> None:
    compress: Callable[[bytes], bytes] = {
        ".gz": gzip.compress,
        ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
        ".bz2": bz2.compress,
    }[suffix]
    path = tmp_path / f"rows.csv{suffix}"
    path.write_bytes(compress(b"a\n1\n") + compress(b"2\n3\n"))
    assert read(path)["a"].to_pylist() == ["1", "2", "3"]
    lines = tmp_path / f"rows.jsonl{suffix}"
    lines.write_bytes(compress(b'{"a":1}\n') + compress(b'{"a":2}'))
    assert read(lines)["a"].to_pylist() == [1, 2]
    arrow = tmp_path / "rows.arrow"
    feather.write_feather(TABLE, arrow, compression="uncompressed")
    packed = tmp_path / f"rows.arrow{suffix}"
    packed.write_bytes(compress(arrow.read_bytes()))
    assert read(packed).to_pylist() == TABLE.to_pylist()


def test_a_signed_url_of_a_compressed_file_is_read() -> None:
    class Signed(fsspec.AbstractFileSystem):
        """A server that wants its URLs whole, as HTTP has them."""

        protocol = "https"

        def isfile(self, path: str) -> bool:
            return True

        def open(self, path: str, mode: str, **_: Any) -> Any:
            assert path.endswith("?X-Amz-Signature=secret.csv")
            return io.BytesIO(gzip.compress(b"a\n1\n"))

    url = "https://host/rows.csv.gz?X-Amz-Signature=secret.csv"
    assert read(url, filesystem=Signed()).to_pylist() == [{"a": "1"}]


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2"])
def test_a_compressed_file_cut_short_is_no_shorter_file(suffix: str, tmp_path: Path) -> None:
    body = b"a,b\n" + b"".join(b"%d,%d\n" % (n * 7919 % 1_000_003, n) for n in range(200_000))
    packed = {
        ".gz": gzip.compress,
        ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
        ".bz2": bz2.compress,
    }[suffix](body)
    path = tmp_path / f"rows.csv{suffix}"
    for kept in (len(packed) // 2, len(packed) - 1, 1):
        path.write_bytes(packed[:kept])
        with pytest.raises(
            DeepchecksSourceError, match=f"Reading {path} failed|Reading file://{path} failed"
        ):
            read(path)


@pytest.mark.parametrize("suffix", ["gz", "zst", "bz2"])
@pytest.mark.parametrize("name", ["csv", "jsonl", "arrow"])
def test_a_compressed_file_without_a_byte_is_no_file_without_rows(
    name: str, suffix: str, tmp_path: Path
) -> None:
    (tmp_path / f"1.{name}.{suffix}").write_bytes(b"")
    with pytest.raises(DeepchecksSourceError, match=rf"1\.{name}\.{suffix}"):
        list(open_files([f"{tmp_path}/*"]).batches())


@pytest.mark.parametrize("name", WRITERS)
def test_a_binary_file_cut_short_is_no_shorter_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](pa.table({"a": list(range(5000))}), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DeepchecksSourceError, match=name):
        read(path)


def ipc_bytes(batches: int, *, file: bool) -> tuple[bytes, list[int]]:
    """A stream or file of Arrow IPC, and where its batches end."""
    sink, ends = io.BytesIO(), []
    table = pa.table({"a": [-1, 0], "s": pa.array(["x", "y"]).dictionary_encode()})
    new: Any = pa.ipc.new_file if file else pa.ipc.new_stream
    with new(sink, table.schema) as writer:
        for _ in range(batches):
            writer.write_table(table)
            ends.append(sink.tell())
    return sink.getvalue(), ends


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("file", [True, False])
def test_arrow_that_ends_between_two_batches_is_no_shorter_file(
    file: bool, suffix: str, tmp_path: Path
) -> None:
    data, ends = ipc_bytes(3, file=file)
    path = tmp_path / f"rows.arrow{suffix}"
    pack: Callable[[bytes], bytes] = gzip.compress if suffix else bytes
    path.write_bytes(pack(data))
    assert read(path)["a"].to_pylist() == [-1, 0] * 3
    path.write_bytes(pack(data[: ends[1]]))
    told = "Not an Arrow file" if file and not suffix else "has no end mark: it is cut short"
    with pytest.raises(DeepchecksSourceError, match=told):
        read(path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("file", [True, False])
@pytest.mark.parametrize("more", [b"\0", None])
def test_arrow_that_goes_on_after_its_end_is_told(
    file: bool, suffix: str, more: bytes | None, tmp_path: Path
) -> None:
    data, _ = ipc_bytes(2, file=file)
    path = tmp_path / f"rows.arrow{suffix}"
    pack: Callable[[bytes], bytes] = gzip.compress if suffix else bytes
    path.write_bytes(pack(data + (data if more is None else more)))
    told = "goes on after its end; " if more is None or suffix or not file else "rows.arrow"
    with pytest.raises(DeepchecksSourceError, match=told):
        read(path)


def test_arrow_written_by_polars_has_its_end(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": range(5000), "s": ["x", None] * 2500})
    path = tmp_path / "rows.arrow"
    levels = [pl.CompatLevel.oldest()]
    with contextlib.suppress(pa.ArrowNotImplementedError):  # an old pyarrow can read no views
        pa.array(["x"], pa.string_view()).cast(pa.large_string())
        levels.append(pl.CompatLevel.newest())
    for compat in levels:
        for write in (frame.write_ipc, frame.write_ipc_stream):
            write(path, compression="lz4", compat_level=compat)
            assert read(path)["a"].to_pylist() == list(range(5000))
    frame.write_ipc(path, compat_level=pl.CompatLevel.oldest())
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(DeepchecksSourceError, match="goes on after its end"):
        read(path)


def test_unnamed_indexes_of_pandas_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}, index=[5, 9])
    frame[frame["x"] > 1].to_parquet(path)
    assert "__index_level_0__" in pq.read_schema(path).names
    assert read(path).to_pylist() == [{"x": 2, "y": "b"}]


def test_times_of_spark_far_from_today_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    times = [dt.datetime(9999, 12, 31), dt.datetime(1, 1, 1), dt.datetime(2026, 1, 1, 1, 1, 1, 123456), None]
    table = pa.table({"at": pa.array(times, pa.timestamp("us"))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    assert read(path).equals(table)


def test_giant_row_groups_come_in_small_batches(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": range(100_000)}), path, row_group_size=100_000)
    sizes = [batch.num_rows for batch in open_files([path]).batches()]
    assert sum(sizes) == 100_000
    assert max(sizes) <= formats.PARQUET_ROWS


def test_long_texts_come_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "PARQUET_BYTES", 2**20)
    path = tmp_path / "rows.parquet"
    texts = [f"{number:010}" * 1000 for number in range(300)]
    with pq.ParquetWriter(path, pa.schema([("t", pa.string())]), use_dictionary=False) as writer:
        for part in ([""] * 1000, texts, [""] * 1000):
            writer.write_table(pa.table({"t": part}))
    batches = list(open_files([path]).batches())
    assert pa.Table.from_batches(batches)["t"].to_pylist() == [""] * 1000 + texts + [""] * 1000
    assert max(batch.num_rows for batch in batches) <= 2**20 / 10_000


def test_local_files_of_parquet_tell_whether_they_are_in_order(tmp_path: Path) -> None:
    def in_order(*ats: list[int], ids: list[str], time: str = "at", suffix: str = "parquet") -> bool:
        paths = [tmp_path / f"{number}.{suffix}" for number in range(len(ats))]
        for path, at in zip(paths, ats, strict=True):
            table = pa.table({"x": [0.5] * len(at), "id": ids, "at": at})
            pq.write_table(table, path) if suffix == "parquet" else feather.write_feather(table, path)
        source = open_files(paths)
        told = source.in_order(time, "id", naive_is_utc=True)
        assert sum(batch.num_rows for batch in source.batches()) == sum(map(len, ats))
        return told

    assert in_order([1, 1, 2], [2, 3, 3], ids=["a", "b", "c"]) is False  # c and a at 2
    assert in_order([1, 1, 2], [3, 3, 4], ids=["a", "b", "c"])
    assert not in_order([1, 1, 2], [0, 3, 4], ids=["a", "b", "c"])
    assert not in_order([1, 1, 2], ids=["b", "a", "c"])
    # Reading tells of the missing column.
    assert not in_order([1, 2, 3], ids=["a", "b", "c"], time="when")
    assert not in_order([1, 2, 3], ids=["a", "b", "c"], suffix="feather")


# -- several files -------------------------------------------------------------------------------------------


def test_globs_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "c", "a"):
        (tmp_path / f"day={name}").mkdir()
        (tmp_path / f"day={name}" / "rows.csv").write_text(f"a\n{name}\n")
    assert read(f"{tmp_path}/day=*/*.csv")["a"].to_pylist() == ["a", "b", "c"]
    assert read(f"file://{tmp_path}/day=[ab]/rows.csv")["a"].to_pylist() == ["a", "b"]
    assert read(f"{tmp_path}/day=c/rows.csv", f"{tmp_path}/day=a/*.csv")["a"].to_pylist() == ["c", "a"]


def test_a_name_with_brackets_is_taken_literally_first(tmp_path: Path) -> None:
    (tmp_path / "rows[1].csv").write_text("a\n1\n")
    (tmp_path / "rows1.csv").write_text("a\n2\n")
    assert read(tmp_path / "rows[1].csv")["a"].to_pylist() == ["1"]


def test_files_agree_on_the_meaning_and_the_order_of_columns(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"a": [1, 2], "s": pa.nulls(2), "d": pa.array(["x", "y"]).dictionary_encode()}),
        tmp_path / "1.parquet",
    )
    pq.write_table(pa.table({"s": ["x"], "d": ["z"], "a": [0.5]}), tmp_path / "2.parquet")
    batches = open_files([f"{tmp_path}/*.parquet"]).batches()
    assert [row for batch in batches for row in batch.to_pylist()] == [
        {"a": 1, "s": None, "d": "x"},
        {"a": 2, "s": None, "d": "y"},
        {"a": 0.5, "s": "x", "d": "z"},
    ]


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (
            {"a": ["x"], "b": ["x"]},
            "Column 'a' is string in .*2.parquet and int64 before; write it with one type",
        ),
        ({"a": [1]}, "2.parquet has other columns than .*1.parquet: it lacks 'b'"),
        (
            {"a": [1], "b": ["x"], "c": [1]},
            "2.parquet has other columns than .*1.parquet: it has 'c' besides",
        ),
        ({"a": [True], "b": ["x"]}, "Column 'a' is bool in .*2.parquet and int64 before"),
    ],
)
def test_files_that_do_not_fit_together_are_told(second: dict[str, Any], told: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [2**60 + 1], "b": ["x"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table(second), tmp_path / "2.parquet")
    with pytest.raises(DeepchecksSourceError, match=told):
        read(f"{tmp_path}/*.parquet")


def test_csv_is_not_mixed_with_typed_files(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a\n1\n")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "2.parquet")
    with pytest.raises(DeepchecksSourceError, match="holds CSV and other formats"):
        _ = open_files([f"{tmp_path}/*"]).untyped


# -- what goes wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("rows.csv", b"a,b\n1,2\n1,2,3\n", "Expected 2 columns, got 3"),
        (
            "rows.csv",
            b"a,b\n" + b"1,x\n" * 500_000 + b"1,\xff\n",
            r"not UTF-8 text \(column 'b' in row 500,002, .*; write it as UTF-8",
        ),
        ("rows.csv", "a,b\n1,2\n".encode("utf-16"), "not UTF-8"),
        ("rows.csv", "a,ä\n1,2\n".encode("latin-1"), "not UTF-8 text .*; write it as UTF-8"),
        ("rows.csv", b"a;b\n1;2\n", "one column, 'a;b', and seems to be separated by ';'; write .* commas"),
        ("rows.tsv", b"a,b\n1,2\n", "separated by ','; .* with tabs as .tsv"),
        ("rows.csv", b"a,b\n1," + b"x" * 40_000_000 + b"\n", "a row of more than 16,777,216 bytes"),
        ("rows.csv", b"a,b\n1,2\n2," + b"x" * 40_000_000 + b"\n", "a row of more than 16,777,216 bytes"),
        ("rows.jsonl", b'[{"a":1}]\n', "one JSON array"),
        ("rows.json", b'{"a":1}\n{"a":\n', "row 2: JSON parse error"),
        ("rows.jsonl", b'{"a":"x"}\n\n{"a":"\\ud800"}\n', "row 2: .*surrogate"),
        ("rows.jsonl", b'{"a":1}\n{"a":"x"}\n', "row 2: .*Column\\(/a\\) changed from number to string"),
        ("rows.jsonl", b'{"a":1,"a":2}\n', "specified twice"),
        ("rows.parquet", b"not parquet at all, surely", "Parquet magic bytes not found"),
        ("rows.parquet.gz", b"", "Parquet files compress inside"),
        ("rows.arrow", b"neither stream nor file", "Reading .*rows.arrow failed"),
        ("rows.txt", b"a\n1\n", "the format is not told by the name"),
    ],
)
def test_unreadable_files_are_named(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DeepchecksSourceError, match=told) as caught:
        read(path)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "head", "line"), [("csv", b"a\n", b"x%05d\n"), ("jsonl", b"", b'{"a":"x%05d"}\n')]
)
@pytest.mark.parametrize("whole_lines", [100_000, 300_001])
def test_a_file_that_is_written_to_while_it_is_read_is_told(
    suffix: str, head: bytes, line: bytes, whole_lines: int, tmp_path: Path
) -> None:
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(head + b"".join(line % number for number in range(300_000)))
    length = len(head) + whole_lines * len(line % 0)
    reading = open_files([path]).batches()
    next(iter(reading))
    with path.open("r+b") as file:
        # Where a line ends, so that nothing else tells of it.
        file.truncate(length)
        file.seek(length - len(line % 0))
        file.write(line % 7)
    with pytest.raises(DeepchecksSourceError, match=f"rows.{suffix} was written to while it was read"):
        list(reading)


def test_a_file_that_is_replaced_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a\n" + b"x\n" * 2_000_000)
    reading = open_files([path]).batches()
    rows = next(iter(reading)).num_rows
    (tmp_path / "new").write_bytes(b"a\ny\n")
    (tmp_path / "new").replace(path)
    assert rows + sum(batch.num_rows for batch in reading) == 2_000_000


def test_a_type_that_changes_in_a_later_block_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "BLOCK_BYTES", 8)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a":1}\n{"a":2}\n{"a":"x"}\n')
    with pytest.raises(DeepchecksSourceError, match="changes a column's type in the rows from 3 on"):
        read(path)


def test_a_line_without_end_is_no_json_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "BLOCK_BYTES", 8)
    monkeypatch.setattr(formats, "ROW_BYTES", 100)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a":"' + b"x" * 200 + b'"}')
    with pytest.raises(DeepchecksSourceError, match="A line of more than 100 bytes"):
        read(path)


def test_paths_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    for path in (tmp_path / "rows.csv", f"{tmp_path}/*.csv"):
        with pytest.raises(DeepchecksSourceError, match="No file matches"):
            read(path)
    with pytest.raises(DeepchecksSourceError, match="is a directory; name its files"):
        read(tmp_path)
    with pytest.raises(DeepchecksSourceError, match=r"nowhere://rows.csv cannot be reached"):
        read("nowhere://rows.csv")
    with pytest.raises(DeepchecksSourceError, match="Unknown format 'xlsx'"):
        open_files([tmp_path], format="xlsx")
    with pytest.raises(DeepchecksSourceError, match="No file was named"):
        read()


def test_columns_named_twice_are_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b,a\n1,2,3\n")
    with pytest.raises(DeepchecksColumnsError, match=r"rows.csv has more than one column named 'a'"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("rows.csv", b"a,b\n", ["a", "b"]),
        ("rows.csv", b"a,b", ["a", "b"]),
        ("rows.csv", b"", []),
    ],
)
def test_files_without_rows(name: str, content: bytes, names: list[str], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    table = read(path)
    assert (table.num_rows, table.column_names) == (0, names)
    pq.write_table(TABLE.slice(0, 0), tmp_path / "empty.parquet")
    assert read(tmp_path / "empty.parquet").schema.equals(TABLE.schema)


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_json_lines_without_a_line_are_no_rows(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    assert list(open_files([tmp_path / "rows.jsonl"]).batches()) == []


@pytest.mark.parametrize(
    ("suffix", "rows"), [("csv", "a,b\n1,x\n"), ("tsv", "a\tb\n1\tx\n"), ("jsonl", '{"a":"1","b":"x"}\n')]
)
@pytest.mark.parametrize("names", [("1", "2"), ("2", "1")])
def test_an_empty_part_among_files_of_text_has_no_rows(
    names: tuple[str, str], suffix: str, rows: str, tmp_path: Path
) -> None:
    (tmp_path / f"{names[0]}.{suffix}").write_text("")
    (tmp_path / f"{names[1]}.{suffix}").write_text(rows)
    assert read(f"{tmp_path}/*").to_pylist() == [{"a": "1", "b": "x"}]


def test_a_key_that_one_file_of_json_lines_lacks_is_null_there(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text('{"a":1}\n{"a":2}\n')
    (tmp_path / "2.jsonl").write_text('{"b":"x","a":3}\n')
    (tmp_path / "3.jsonl").write_text('{"b":"y"}\n')
    assert read(f"{tmp_path}/*").to_pylist() == [
        {"a": 1, "b": None},
        {"a": 2, "b": None},
        {"a": 3, "b": "x"},
        {"a": None, "b": "y"},
    ]


def test_the_format_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "export.txt"
    path.write_text("a\n1\n")
    assert read(path, format="csv").to_pylist() == [{"a": "1"}]


def test_secrets_in_paths_are_not_shown() -> None:
    source = open_files(["https://u:secret@host/a.csv?X-Amz-Signature=secret", "ftp://me:secret@host/b.csv"])
    assert source.description == "https://host/a.csv, ftp://host/b.csv"
    assert open_files(["1.csv"] * 5).description == "1.csv, 1.csv, 1.csv and 2 more"
    assert "secret" not in repr(open_files(["s3://b/a.csv"], storage_options={"secret": "secret"}))


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a\n1\n")
    os.utime(path, (1, 1))
    before = open_files([path]).fingerprint()
    assert open_files([path]).fingerprint() == before
    os.utime(path, (2, 2))
    touched = open_files([path]).fingerprint()
    path.write_text("a\n12\n")
    os.utime(path, (2, 2))
    assert len({before, touched, open_files([path]).fingerprint()}) == 3


class WebFiles(AbstractFileSystem):  # type: ignore[misc]
    """Files whose URLs differ in the query only, told apart as fsspec's HTTP filesystem does."""

    protocol = "https"
    cachable = False

    def __init__(self, files: dict[str, str], marks: dict[str, str]) -> None:
        super().__init__()
        self.files, self.marks = files, marks

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": len(self.files[path]), "type": "file", **self.marks}

    def isfile(self, path: str) -> bool:
        return path in self.files

    def _open(self, path: str, *_: Any, **__: Any) -> Any:
        return io.BytesIO(self.files[path].encode())

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path


URLS = ["https://host/get?file=a", "https://host/get?file=b"]


def test_urls_that_differ_in_the_query_are_two_files() -> None:
    web = WebFiles({URLS[0]: "x,y\n1,2\n", URLS[1]: "y,x\n3,4\n"}, {})
    table = read(*URLS, filesystem=web, format="csv")
    assert table.to_pylist() == [{"x": "1", "y": "2"}, {"x": "4", "y": "3"}]
    one, other = (open_files([url], filesystem=web, format="csv").fingerprint() for url in URLS)
    assert one != other


@pytest.mark.parametrize("mark", ["Last-Modified", "Content-MD5", "Digest", "ETag"])
def test_a_changed_file_on_the_web_changes_the_fingerprint(mark: str) -> None:
    before, after = (
        open_files(
            URLS[:1], filesystem=WebFiles({URLS[0]: "x\n1\n"}, {mark: value}), format="csv"
        ).fingerprint()
        for value in ("1", "2")
    )
    assert before != after


def test_another_format_changes_the_fingerprint(tmp_path: Path) -> None:
    """The same bytes are other rows when they are read another way."""
    path = tmp_path / "rows.txt"
    path.write_text("a\n1\n")
    assert open_files([path], format="csv").fingerprint() != open_files([path], format="tsv").fingerprint()


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.jsonl", "rows.parquet", "rows.arrow"])
def test_files_are_closed_when_reading_stops_early(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "rows.parquet":
        pq.write_table(pa.table({"a": range(100_000)}), path)
    elif name == "rows.arrow":
        feather.write_feather(pa.table({"a": range(200_000)}), path)
    else:
        body = b"a\n" + b"1234567\n" * 10 if "csv" in name else b'{"a":1}\n' * 10
        path.write_bytes(gzip.compress(body) if name.endswith("gz") else body)
    reading: Any = open_files([path]).batches()
    next(reading)
    reading.close()
    held = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
    assert str(path) not in held


# -- object storage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows.csv.gz", "rows.jsonl.zst", "rows.arrow"])
def test_object_storage_reads_like_a_disk(name: str, object_store: ObjectStore, tmp_path: Path) -> None:
    import fsspec

    local = tmp_path / name
    rows = pa.table({"id": [f"id-{n}" for n in range(50_000)], "x": [str(n / 7) for n in range(50_000)]})
    if name == "rows.parquet":
        pq.write_table(rows, local, row_group_size=20_000)
    elif name == "rows.arrow":
        feather.write_feather(rows, local)
    elif name.startswith("rows.csv"):
        rows.to_pandas().to_csv(local, index=False)
    else:
        local.write_bytes(pa.compress(json_lines(rows.to_pylist()), codec="zstd", asbytes=True))
    fsspec.filesystem("s3", **object_store.storage_options).put(
        str(local), f"{object_store.bucket}/{name}/part-{name}"
    )
    uri = f"s3://{object_store.bucket}/{name}/*{name}"
    source = open_files([uri], storage_options=object_store.storage_options)
    assert pa.Table.from_batches(source.batches()).to_pylist() == rows.to_pylist()
    filesystem = fsspec.filesystem("s3", **object_store.storage_options)
    assert read(f"{object_store.bucket}/{name}/part-{name}", filesystem=filesystem).num_rows == 50_000
    before = source.fingerprint()
    # Of the same length, and perhaps within the same second.
    filesystem.pipe_file(f"{object_store.bucket}/{name}/part-{name}", local.read_bytes()[::-1])
    assert source.fingerprint() != before


def test_an_airflow_path_brings_its_own_filesystem(tmp_path: Path) -> None:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    (tmp_path / "rows.csv").write_text("a\n1\n")
    path = ObjectStoragePath(f"file://{tmp_path}/*.csv")
    source = open_files([path])
    assert pa.Table.from_batches(source.batches()).to_pylist() == [{"a": "1"}]
    assert str(tmp_path) in source.description


def test_a_bucket_that_is_not_there_is_told(object_store: ObjectStore) -> None:
    with pytest.raises(DeepchecksSourceError, match=r"s3://missing/a.csv|No file matches"):
        read("s3://missing/a.csv", storage_options=object_store.storage_options)
    refused = {**object_store.storage_options, "client_kwargs": {"endpoint_url": "http://127.0.0.1:1"}}
    refused["config_kwargs"] = {"retries": {"max_attempts": 1}}
    with pytest.raises(DeepchecksSourceError, match=r"s3://rows/a.csv cannot be reached"):
        read("s3://rows/a.csv", storage_options=refused)
