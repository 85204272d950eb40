# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Extension types: the known ones become plain values, of the others the storage may mean anything."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from airflow_provider_deepchecks.exceptions import DeepchecksColumnsError, DeepchecksSourceError
from airflow_provider_deepchecks.records.sources.source import open_frame
from tests.records.checking import check, checker, rows_of

PERIODS = pd.period_range("2026-01", periods=2, freq="M")
if TYPE_CHECKING:
    from collections.abc import Iterator

NUMERIC = {b"ADBC:postgresql:typname": b"numeric"}


class Celsius(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.int64(), "example.celsius")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Celsius:
        return cls()


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    pa.register_extension_type(Celsius())
    yield
    pa.unregister_extension_type("example.celsius")


def with_field(values: pa.Array, metadata: dict[bytes, bytes]) -> pa.Table:
    """Rows whose column ``x`` comes with a note about its type."""
    rows = rows_of(len(values))
    schema = pa.schema([*rows.schema, pa.field("x", values.type, metadata=metadata)])
    return pa.Table.from_arrays([*rows.columns, values], schema=schema)


def checked(data: Any, kind: str) -> Any:
    (batch,) = open_frame(data).batches()
    return check(checker({"x": kind}), batch)


@pytest.mark.parametrize("kind", ["numeric", "integer", "categorical", "text", "datetime", "boolean"])
@pytest.mark.parametrize("values", [PERIODS, pd.Categorical(PERIODS)], ids=["plain", "categorical"])
def test_periods_are_not_their_numbers(values: Any, kind: str) -> None:
    frame = rows_of(2).to_pandas().assign(x=values)
    # An old pyarrow itself refuses categories that are periods.
    told = r"'x' is .*period.*astype\(str\), or as times|Column 'x' .*not readable.*Period"
    with pytest.raises((DeepchecksColumnsError, DeepchecksSourceError), match=told):
        checked(frame, kind)


def test_periods_are_no_ids_and_no_times() -> None:
    for column in ("id", "at"):
        with pytest.raises(DeepchecksColumnsError, match=f"Column '{column}' is .*astype"):
            checked(rows_of(2).to_pandas().assign(**{column: PERIODS}), "numeric")


@pytest.mark.parametrize(
    "data",
    [
        pa.Table.from_batches([rows_of(2, x=pa.ExtensionArray.from_storage(Celsius(), pa.array([1, 2])))]),
        with_field(pa.array([1, 2]), {b"ARROW:extension:name": b"example.kelvin"}),
    ],
    ids=["registered", "noted"],
)
def test_an_unknown_type_is_named_whether_or_not_arrow_knows_it(data: pa.Table) -> None:
    with pytest.raises(
        DeepchecksColumnsError, match=r"'example.(celsius|kelvin)' is not known here; write it"
    ):
        checked(data, "numeric")


def test_known_types_are_read_where_arrow_does_not_know_them() -> None:
    uuid = with_field(pa.array([bytes(16)], pa.binary(16)), {b"ARROW:extension:name": b"arrow.uuid"})
    assert checked(uuid, "text").rows["x"].to_pylist() == ["00000000-0000-0000-0000-000000000000"]
    bools = with_field(pa.array([1, 0], pa.int8()), {b"ARROW:extension:name": b"arrow.bool8"})
    assert checked(bools, "boolean").rows["x"].to_pylist() == [True, False]
    texts = with_field(pa.array(["{}"]), {b"ARROW:extension:name": b"arrow.json"})
    assert [json.loads(text) for text in checked(texts, "text").rows["x"].to_pylist()] == [{}]


def test_numerics_of_postgres_may_be_nan_and_infinite() -> None:
    (batch,) = open_frame(with_field(pa.array(["0.1", "NaN", "Infinity", None]), NUMERIC)).batches()
    values = batch.column("x").to_pylist()
    assert (batch.column("x").type, values[0], values[2:]) == (pa.float64(), 0.1, [math.inf, None])
    assert math.isnan(values[1])


def test_a_numeric_beyond_any_decimal_is_told_with_its_column() -> None:
    with pytest.raises(DeepchecksSourceError, match="Column 'x' does not hold decimal256"):
        list(open_frame(with_field(pa.array(["1" * 50 + ".5"]), NUMERIC)).batches())
    with pytest.raises(DeepchecksSourceError, match="Column 'x' of type string is not readable"):
        list(open_frame(with_field(pa.array(["many"]), NUMERIC)).batches())
