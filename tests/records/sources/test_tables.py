# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Statements, and what holds for the rows of any database."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_deepchecks.exceptions import DeepchecksSourceError
from airflow_provider_deepchecks.records.sources.source import open_query
from airflow_provider_deepchecks.records.sources.tables import one_statement
from tests.records.sources.reading import query


@pytest.mark.parametrize(
    ("sql", "statement"),
    [
        ("SELECT 1", "SELECT 1"),
        ("  SELECT 1 ;\n", "SELECT 1"),
        ("SELECT ';' AS a; -- done", "SELECT ';' AS a"),
        ("/* why */ SELECT /*+ hint */ 1 -- what", "/* why */ SELECT /*+ hint */ 1"),
        ("SELECT '--' AS a", "SELECT '--' AS a"),
        pytest.param(f"SELECT 1 IN (1{', 1' * 9000});", f"SELECT 1 IN (1{', 1' * 9000})", id="many tokens"),
    ],
)
def test_one_statement_is_taken_without_its_end(sql: str, statement: str) -> None:
    assert one_statement(sql) == statement


@pytest.mark.parametrize("sql", ["", " ; ", "-- nothing", "SELECT 1; SELECT 2", "DELETE FROM t; SELECT 1"])
def test_other_than_one_statement_is_refused(sql: str) -> None:
    with pytest.raises(DeepchecksSourceError, match="must be one SELECT"):
        one_statement(sql)


def test_without_columns_to_order_by_nothing_is_asked() -> None:
    def connect() -> Any:
        raise AssertionError("connected")

    assert open_query(connect, "SELECT 1", dialect="postgresql").ordered is False
    assert open_query(connect, "SELECT 1", dialect="mssql", order_by=["at", "id"]).ordered is False
    assert open_query(connect, "SELECT 1", dialect="sqlite", order_by=["at", "id"]).ordered is False


def test_connecting_that_fails_is_told() -> None:
    def connect() -> Any:
        raise OSError("no route to host")

    with pytest.raises(
        DeepchecksSourceError,
        match=r"The query on shop \(mysql\) failed in connecting: builtins.OSError: no route",
    ):
        query(connect, "SELECT 1", dialect="mysql", name="shop")


def test_the_fingerprint_tells_statement_parameters_and_order() -> None:
    def fingerprint(sql: str, parameters: Any = None, **options: Any) -> str:
        return open_query(lambda: None, sql, parameters, **options).fingerprint()

    base = fingerprint("SELECT 1", {"a": 1})
    assert fingerprint("SELECT 1;", {"a": 1}) == base
    others = [fingerprint("SELECT 2", {"a": 1}), fingerprint("SELECT 1", {"a": 2}), fingerprint("SELECT 1")]
    others.append(fingerprint("SELECT 1", {"a": 1}, order_by=["at", "id"]))
    assert len({base, *others}) == 5
