# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Whole numbers of JSON lines keep their digits, whatever else is in their column."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.casts.objects import ANY_DECIMAL, HUGE_INTEGER
from airflow_provider_deepchecks.records.sources import formats, json_numbers
from airflow_provider_deepchecks.records.sources.json_numbers import has_long_integers
from airflow_provider_deepchecks.records.sources.source import open_files
from tests.records.checking import PAST, check, checker, reasons

if TYPE_CHECKING:
    from pathlib import Path

LONG = 2**53 + 1


def column(path: Path, values: list[Any]) -> Any:
    """What comes of a column of JSON; texts are written as they are."""
    lines = ('{"a":%s}\n' % (value if isinstance(value, str) else json.dumps(value)) for value in values)
    path.write_text("".join(lines))
    return pa.Table.from_batches(list(open_files([path]).batches()))["a"]


@pytest.fixture(params=[formats.BLOCK_BYTES, 24])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is read in one block, or in a block a row."""
    monkeypatch.setattr(formats, "BLOCK_BYTES", request.param)
    return tmp_path / "rows.jsonl"


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([LONG, 1.5], ANY_DECIMAL, [LONG, Decimal("1.5")]),
        ([1.5, None, -LONG, "1e3", "-0.0"], ANY_DECIMAL, [Decimal("1.5"), None, -LONG, 1000, 0]),
        ([LONG, "2.0"], ANY_DECIMAL, [LONG, 2]),
        ([LONG, 1, None], pa.int64(), [LONG, 1, None]),
        ([2**64 + 1, 1], HUGE_INTEGER, [2**64 + 1, 1]),
        ([2**63 + 1, 2.5], ANY_DECIMAL, [2**63 + 1, Decimal("2.5")]),
        ([2**63, 2.5], pa.float64(), [2.0**63, 2.5]),
        ([2**63, 1], HUGE_INTEGER, [2**63, 1]),
        ([10**37 + 1, 1], HUGE_INTEGER, [10**37 + 1, 1]),
        ([123456789012345680000, 1.5], ANY_DECIMAL, [123456789012345680000, Decimal("1.5")]),
        ([2**60, 1e-300], pa.float64(), [2.0**60, 1e-300]),
        ([2**53, 1.5, "1234567890123456.5"], pa.float64(), [2.0**53, 1.5, 1234567890123456.5]),
        ([0.12345678901234567, 3], pa.float64(), [0.12345678901234567, 3.0]),
    ],
)
def test_digits_are_kept(values: list[Any], kind: pa.DataType, expected: list[Any], path: Path) -> None:
    found = column(path, values)
    assert found.type == kind
    assert found.to_pylist() == expected


def test_what_fits_no_decimal_beside_long_numbers_is_told_with_its_row(path: Path) -> None:
    for odd in ("1e-40", "NaN", "1e60"):
        with pytest.raises(
            DeepchecksSourceError, match=r"rows.jsonl, rows from [12] on: .*write them as text"
        ):
            column(path, [LONG, odd])


def test_objects_of_several_lines_or_of_one_line_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"a":{LONG}}}{{"a":1.5}}\n{{\n"a": 2.5}}\n')
    table = pa.Table.from_batches(list(open_files([path]).batches()))
    assert table["a"].to_pylist() == [LONG, Decimal("1.5"), Decimal("2.5")]


def test_long_numbers_arrive_as_they_were_or_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = '{"id":"%s","at":"%s","guess":1.5,"big":%s,"name":%s}\n'
    at = PAST.isoformat()
    path.write_text(
        row % ("a", at, LONG, LONG)
        + row % ("b", at, "1.5", "1.5")
        + row % ("c", at, 2**63, 2**63)
        + row % ("d", at, "2.0", "2.0")
    )
    (batch,) = open_files([path]).batches()
    checked = check(checker({"big": "bigint", "name": "categorical"}), batch)
    assert reasons(checked) == {1: ["not a whole number"], 2: ["number is out of range"]}
    assert checked.rows.column("big").to_pylist() == [LONG, 2]
    assert checked.rows.column("name").to_pylist() == [str(LONG), "2"]


def test_long_numbers_beside_columns_of_small_fractions_cost_no_second_parser(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_numbers, "_objects", None)
    rows = [{"at": LONG + row, "a": row / 8} for row in range(20)]
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    assert pa.Table.from_batches(list(open_files([path]).batches())).to_pylist() == rows


def test_ids_beyond_64_bits_are_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"id": 2**64 + 1, "at": PAST.isoformat(), "guess": 1.5}))
    (batch,) = open_files([path]).batches()
    assert check(checker(), batch).rows.column("_dc_sample_id").to_pylist() == [str(2**64 + 1)]


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (b'{"a":1234567890123456}', True),
        (b'{"a":-1234567890123456}', True),
        (b'{"a": 12345678901234567890}', True),
        (b'{"a":[1,1234567890123456]}', True),
        (b'{"a":123456789012345}', False),
        (b'{"a":0.12345678901234567}', False),
        (b'{"a":"12345678901234567"}', False),
        (b'{"a":"x12345678901234567"}', False),
        (b"{}", False),
        (b"", False),
    ],
)
def test_long_integers_are_seen(block: bytes, found: bool) -> None:
    assert has_long_integers(block) is found
    assert has_long_integers(b"{}\n" * 9 + block + b"\n{}" * 9) is found


@given(
    st.lists(
        st.one_of(st.integers(-(10**20), 10**20), st.none(), st.integers(-999, 999).map(lambda n: n / 8))
    )
)
def test_any_numbers_keep_their_digits(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    path = tmp_path_factory.mktemp("numbers") / "rows.jsonl"
    found = column(path, [0, *values]).to_pylist()
    expected = [0, *values]
    assert found == expected
