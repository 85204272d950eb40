# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A quote too many in a CSV is told, and no other CSV is refused."""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.sources import csv_blocks, formats
from airflow_provider_deepchecks.records.sources.csv_quotes import QuoteGuard
from airflow_provider_deepchecks.records.sources.source import open_files

if TYPE_CHECKING:
    from pathlib import Path


def through(data: bytes, size: int, delimiter: str = ",") -> bytes:
    """What a guard hands out, so many bytes at a time."""
    guard = QuoteGuard(io.BytesIO(data), "rows.csv", delimiter)
    return b"".join(iter(lambda: guard.read(size), b""))


def lines(rows: int, quoted: dict[int, bytes]) -> bytes:
    row = b"i%d,2026-01-01T10:00:00Z,1,%s\n"
    return b"id,at,guess,x\n" + b"".join(row % (n, quoted.get(n, b"t%d" % n)) for n in range(rows))


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
@pytest.mark.parametrize("rows", [500, 20_000])
def test_a_quote_that_is_not_closed_swallows_no_rows(name: str, rows: int, tmp_path: Path) -> None:
    path = tmp_path / name
    data = lines(rows, {100: b'"t100'})
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    read: list[Any] = []
    with pytest.raises(DeepchecksSourceError, match=r"ends inside a quoted field that began in line 102: "):
        read.extend(open_files([path]).batches())
    assert sum(batch.num_rows for batch in read) <= 100


def test_a_file_cut_inside_a_quoted_field_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'id,x\n1,"a"\n2,"b')
    with pytest.raises(DeepchecksSourceError, match=r"began in line 3: .* or the file is cut short"):
        list(open_files([path]).batches())


def test_two_stray_quotes_swallow_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(lines(500, {100: b'"t100', 150: b'"t150'}))
    told = "text after the quote in line 152 that closes a field which began in line 102"
    with pytest.raises(DeepchecksSourceError, match=told):
        list(open_files([path]).batches())


def test_more_rows_than_a_block_behind_a_quote_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 1024)
    monkeypatch.setattr(formats, "ROW_BYTES", 16 * 1024)
    path = tmp_path / "rows.csv"
    path.write_bytes(lines(20_000, {100: b'"t100'}))
    with pytest.raises(DeepchecksSourceError, match="is a quote in it one too many"):
        list(open_files([path]).batches())


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    "data",
    [
        b'a,b\n5" pipe,"6"" pipe"\n',
        b'a,b\n5" pipe,6\n7,8\n',
        b'a,b\n"","x\ny"\n"""","a ""b"", c"\n',
        b'a,b\n"1"x,2\n5"",""\n',
        b'a,b\r\n"1\r\n\r\n2","3"\r\n',
        b"a,b\n1,2\n",
        b"",
    ],
)
def test_quotes_in_their_place_pass(data: bytes, size: int) -> None:
    assert through(data, size) == data


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'a,b\n1,"x', 2),
        (b'a,b\r\n1,2\r\n3,"x', 3),
        (b"a,b\r1,2\r3,'\"'\r4,\"x", 4),
        (b'a,b\n5" pipe,"x\n6,7\n', 2),
        (b'a,b\n1,"x""\n', 2),
        (b'\xef\xbb\xbf\r\n\na,b\n1,"x', 4),
        (b'a,b\n1,"""', 2),
        (b'a,b\n1,2\n"x\n","\n', 4),
    ],
)
def test_the_line_of_an_open_quote_is_told(data: bytes, line: int, size: int) -> None:
    with pytest.raises(DeepchecksSourceError, match=f"rows.csv ends inside .* began in line {line}: "):
        through(data, size)


@pytest.mark.parametrize("size", [3, 4, 5, 1000])
def test_the_header_line_comes_first(size: int) -> None:
    assert through(b'\xef\xbb\xbf\r\n\n\r\n"a","b"\n\n1,"2"', size) == b'"a","b"\n\n1,"2"'
    assert through(b"\n" * 20, size) == b""


def test_the_delimiter_decides_where_a_field_starts() -> None:
    assert through(b'a\tb\n1,"x\t2\n', 4, "\t")
    with pytest.raises(DeepchecksSourceError, match="ends inside"):
        through(b'a\tb\n1\t"x\t2\n', 4, "\t")


@given(
    st.lists(st.lists(st.text('ab",\n', max_size=6), min_size=2, max_size=2), min_size=1, max_size=8),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.integers(1, 20),
)
def test_what_a_writer_of_csv_quotes_passes(rows: list[list[str]], quoting: Any, size: int) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting).writerows(rows)
    assert through(text.getvalue().encode(), size) == text.getvalue().encode()


@given(st.text('a",\n', max_size=30), st.integers(1, 10))
def test_the_end_is_inside_quotes_where_it_is_for_arrow(text: str, size: int) -> None:
    """Arrow, given one more row, makes it a row of its own or a part of the field."""
    data = text.encode()
    try:
        through(data, size)
        told = None
    except DeepchecksSourceError as error:
        told = str(error)
    options = {
        "read_options": arrow_csv.ReadOptions(column_names=["a"], use_threads=False),
        # All in one column, so that no row is too long.
        "parse_options": arrow_csv.ParseOptions(
            delimiter=",", newlines_in_values=True, invalid_row_handler=lambda row: "skip"
        ),
    }
    table = arrow_csv.read_csv(pa.BufferReader(b"x\n" + data + b"\nend\n"), **options)
    alone = table["a"].to_pylist()[-1:] == ["end"]
    if told is None:
        assert alone
    elif "ends inside" in told:
        assert not alone


def test_the_guard_reads_no_faster_than_asked() -> None:
    guard = QuoteGuard(io.BytesIO(b"a,b\n1,2\n"), "rows.csv", ",")
    assert guard.read(0) == b""
    assert guard.read(4) == b"a,b\n"


def test_blocks_of_any_size_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 64)
    path = tmp_path / "rows.csv"
    path.write_bytes(b"id,x\n" + b"".join(b'%d,"a ""%d"", b"\n' % (n, n) for n in range(200)))
    rows = [row for batch in open_files([path]).batches() for row in batch.to_pylist()]
    assert rows == [{"id": str(n), "x": f'a "{n}", b'} for n in range(200)]
