# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows of any length come out of small blocks, and one without an end is told."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.sources import csv_blocks, formats
from airflow_provider_deepchecks.records.sources.csv_blocks import CsvBlocks, row_ends
from airflow_provider_deepchecks.records.sources.csv_quotes import QuoteGuard
from airflow_provider_deepchecks.records.sources.source import open_files

if TYPE_CHECKING:
    from pathlib import Path


@given(st.text(st.sampled_from('a"\n\r,'), max_size=30), st.booleans())
@example('"a""\n"', False)
@example('a"\n', True)
def test_a_row_ends_at_a_line_break_outside_of_quotes(text: str, inside: bool) -> None:
    odd, ends = inside, False
    for place, character in enumerate(text):
        odd ^= character == '"'
        ends |= not odd and (character == "\n" or (character == "\r" and place + 1 < len(text)))
    assert row_ends(text.encode(), inside=inside) is ends


def test_a_block_of_quotes_is_followed_in_one_go() -> None:
    assert not row_ends(b'""' * 500_000, inside=False)
    assert not row_ends(b'"\n"' * 300_000, inside=False)
    assert row_ends(b'"' + b"\n" * 999_999 + b'"\n', inside=False)


def test_blocks_are_small_but_for_long_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 8)
    text = b"a,b\n1,2\n3,4\n" + b'5,"' + b"x\n" * 20 + b'"\n7,8\n'
    blocks = CsvBlocks(QuoteGuard(io.BytesIO(text), "rows.csv", ","))
    read = list(iter(lambda: blocks.read(1000), b""))
    assert b"".join(read) == text
    assert [len(block) for block in read] == [8, 8, 45]
    assert blocks.read() == b""


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_longer_than_blocks_are_read(
    size: int, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", size)
    long = [["s1", "x" * 500], ["s2", ""], ["s3", 'a "quoted"\n text, ' * 30], ["s4", "y"]]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["id", "x"], *long])
    rows = [row for batch in open_files([path]).batches() for row in batch.to_pylist()]
    assert [[row["id"], row["x"]] for row in rows] == long


@pytest.mark.parametrize("size", range(1, 12))
def test_line_breaks_in_fields_stay_where_blocks_end_in_them(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", size)
    values = ["one\r\ntwo", "\r\n", "\r", "\r\r\n\n", "x"]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\r\n").writerows([["id", "x"], *enumerate(values)])
    rows = [row for batch in open_files([path]).batches() for row in batch.to_pylist()]
    assert [row["x"] for row in rows] == values


def test_a_row_without_an_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 16)
    monkeypatch.setattr(csv_blocks, "ROW_BYTES", 64)
    monkeypatch.setattr(formats, "ROW_BYTES", 64)
    path = tmp_path / "rows.csv"
    path.write_bytes(b"id,x\n1,2\n3," + b"x" * 200 + b"\n4,5\n")
    with pytest.raises(DeepchecksSourceError, match="has a row of more than 64 bytes"):
        list(open_files([path]).batches())
