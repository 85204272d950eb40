# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The part each of the source's columns plays."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.records.columns import Columns, named, nearest


def test_roles_are_the_columns_with_a_part_of_their_own() -> None:
    columns = Columns("id", "at", "guess", ["p0", "p1"], "truth", {"a": "b"})  # type: ignore[arg-type]
    assert columns.roles() == {"id", "at", "guess", "p0", "p1", "truth"}
    assert Columns("id").roles() == {"id"}


def test_columns_can_be_copied_as_airflow_copies_operators() -> None:
    columns = Columns("id", mapping={"a": "b"})
    assert copy.deepcopy(columns) == columns


def test_mapping_does_not_change_with_the_dict_it_came_from() -> None:
    mapping = {"a": "b"}
    columns = Columns("id", mapping=mapping)
    mapping["c"] = "d"
    assert columns.mapping == {"a": "b"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sample_id": ""}, "sample_id_column is empty"),
        ({"sample_id": "id", "timestamp": ""}, "timestamp_column is empty"),
        ({"sample_id": "id", "prediction": ""}, "prediction_column is empty"),
        ({"sample_id": "id", "label": ""}, "label_column is empty"),
        ({"sample_id": "id", "prediction_probas": ("p", "p")}, "names 'p' more than once"),
        ({"sample_id": "id", "mapping": {"a": "x", "b": "x"}}, "renames several columns to 'x'"),
    ],
)
def test_contradictions_are_config_errors(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DeepchecksConfigError, match=words):
        Columns(**arguments)


def test_nearest_guesses_at_misspelt_names() -> None:
    assert nearest(["incme", "zzz"], ["income", "age"]) == "Meant 'income' for 'incme'?"
    assert nearest(["zzz"], ["income"]) == ""
    assert nearest(["age"], ["AGE", "income"]) == "Meant 'AGE' for 'age'?"


def test_named_cuts_long_lists() -> None:
    assert named(["a", "b"]) == "'a', 'b'"
    assert named(map(str, range(23))).endswith("'19' and 3 more")
