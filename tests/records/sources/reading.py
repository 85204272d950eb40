# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows of a database as one table, for the tests of all databases."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_provider_deepchecks.records.sources.source import open_query

if TYPE_CHECKING:
    from airflow_provider_deepchecks.records.sources.tables import QuerySource

Connect = Callable[[], Any]

UTC = dt.UTC
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=UTC)
ANY_DECIMAL = pa.decimal256(76, 38)


def table_of(source: QuerySource) -> pa.Table:
    batches = list(source.batches())
    assert batches
    assert all(batch.schema.names == batches[0].schema.names for batch in batches)
    return pa.concat_tables(
        [pa.Table.from_batches([batch]) for batch in batches], promote_options="permissive"
    )


def query(connect: Connect, sql: str, parameters: Any = None, **options: Any) -> pa.Table:
    return table_of(open_query(connect, sql, parameters, **options))


def types_of(table: pa.Table) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in table.schema}
