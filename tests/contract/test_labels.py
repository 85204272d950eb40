# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What becomes of each label."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from tests.contract.deepchecks import Deepchecks, Version, label, sample, samples


def filled(deepchecks: Deepchecks, count: int = 3, task_type: str = "regression", **fields: Any) -> Version:
    """A version that holds s0, s1, ..."""
    version = deepchecks.version(task_type, **fields)
    prediction = 1.5 if task_type == "regression" else "0"
    deepchecks.upload(version, [row | {"_dc_prediction": prediction} for row in samples(count)])
    assert deepchecks.settles(version, stored=count)
    return version


def put(deepchecks: Deepchecks, version: Version, *labels: dict[str, Any]) -> None:
    """Send labels and wait until they are dealt with."""
    answer = deepchecks.label(version, list(labels))
    assert (answer.status_code, answer.content) == (200, b"")
    deepchecks.fall_silent()


def labels_of(deepchecks: Deepchecks, version: Version) -> dict[str, Any]:
    """Labels of the stored rows."""
    return {sample_id: row["_dc_label"] for sample_id, row in deepchecks.stored(version).items()}


@pytest.mark.parametrize("value", [1.25, 3, float("nan")])
def test_stored(deepchecks: Deepchecks, value: float) -> None:
    version = filled(deepchecks)
    put(deepchecks, version, label("s0", value))
    assert deepchecks.window(version) == (3, 1)
    model = deepchecks.connected_model(version)
    assert (model["sample_count"], model["label_count"], model["label_ratio"]) == (3, 1, 1 / 3)


def test_label_before_its_sample(deepchecks: Deepchecks) -> None:
    version = filled(deepchecks)
    put(deepchecks, version, label("later", 5.0))
    assert deepchecks.window(version) == (3, 0)
    assert deepchecks.errors(version) == []
    deepchecks.upload(version, [sample("later")])
    assert deepchecks.settles(version, stored=4)
    assert deepchecks.window(version) == (4, 1)


def test_last_write_wins(deepchecks: Deepchecks) -> None:
    version = filled(deepchecks)
    for value in (1.0, 2.0, 2.0):
        put(deepchecks, version, label("s0", value))
    assert deepchecks.errors(version) == []
    assert labels_of(deepchecks, version)["s0"] == 2.0


def test_same_id_twice_in_a_request(deepchecks: Deepchecks) -> None:
    version = filled(deepchecks)
    put(deepchecks, version, label("s0", 1.0), label("s0", 2.0))
    assert labels_of(deepchecks, version)["s0"] == 1.0
    (error,) = deepchecks.errors(version)
    assert error["error"] == "Got duplicate label for sample id: s0. 2.0 vs 1.0"
    assert error["model_version_id"] is None


def test_null_overwrites_and_counts_only_for_the_model(deepchecks: Deepchecks) -> None:
    version = filled(deepchecks)
    put(deepchecks, version, label("s0", 1.0))
    put(deepchecks, version, label("s0", None), label("s1", None))
    assert labels_of(deepchecks, version) == {"s0": None, "s1": None, "s2": None}
    assert deepchecks.window(version) == (3, 0)
    assert deepchecks.connected_model(version)["label_count"] == 2


def test_one_label_reaches_all_versions(deepchecks: Deepchecks) -> None:
    first, second = filled(deepchecks), filled(deepchecks, 2, name="v2")
    put(deepchecks, first, label("s0", 1.0), label("s2", 1.0))
    assert (deepchecks.window(first), deepchecks.window(second)) == ((3, 2), (2, 1))
    assert deepchecks.connected_model(first)["label_count"] == 3


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (label("s1", "cat"), "data._dc_label must be number or null"),
        (label("s1", "5"), "data._dc_label must be number or null"),
        (label("s1", True), "data._dc_label must be number or null"),
        ({"_dc_sample_id": "s1"}, "data must contain ['_dc_label'] properties"),
        ({**label("s1", 1.0), "x": 1}, "data must not contain {'x'} properties"),
    ],
    ids=["text", "number as text", "boolean", "no label", "another column"],
)
def test_refused_and_listed(deepchecks: Deepchecks, bad: dict[str, Any], reason: str) -> None:
    version = filled(deepchecks)
    put(deepchecks, version, label("s0", 1.0), bad)
    assert deepchecks.window(version) == (3, 1)
    (error,) = deepchecks.errors(version)
    assert error["error"] == f"Exception saving label: {reason}, for id: s1"
    assert error["sample"] == repr(bad)
    assert error["model_version_id"] is None


def test_label_without_an_id(deepchecks: Deepchecks) -> None:
    version = filled(deepchecks)
    put(deepchecks, version, {"_dc_label": 1.0})
    reason = "Exception saving label: data must contain ['_dc_sample_id'] properties, for id: None"
    assert [error["error"] for error in deepchecks.errors(version)] == [reason]


@pytest.mark.mode("sync")
def test_integer_id_vanishes_and_takes_the_errors_with_it(deepchecks: Deepchecks) -> None:
    version = filled(deepchecks)
    put(deepchecks, version, label("s0", 1.0), label("s1", "bad"), label(5, 1.0))
    assert deepchecks.window(version) == (3, 1)
    assert deepchecks.errors(version) == []


@pytest.mark.mode("async")
def test_integer_id_cannot_be_queued(deepchecks: Deepchecks) -> None:
    version = filled(deepchecks)
    assert deepchecks.label(version, [label("s0", 1.0), label(5, 1.0)]).status_code == 500
    deepchecks.fall_silent()
    assert deepchecks.window(version) == (3, 0)


@pytest.mark.mode("sync")
def test_label_whose_id_is_null(deepchecks: Deepchecks) -> None:
    version = filled(deepchecks)
    put(deepchecks, version, label("s0", 1.0), label(None, 1.0))
    assert deepchecks.window(version) == (3, 1)
    reason = "Exception saving label: data._dc_sample_id must be string, for id: None"
    assert [error["error"] for error in deepchecks.errors(version)] == [reason]


@pytest.mark.mode("async")
@pytest.mark.parametrize("sample_id", [None, "\ud800"], ids=["null", "lone surrogate"])
def test_label_whose_id_cannot_be_queued(deepchecks: Deepchecks, sample_id: str | None) -> None:
    version = filled(deepchecks)
    assert deepchecks.label(version, [label("s0", 1.0), label(sample_id, 1.0)]).status_code == 500
    deepchecks.fall_silent()
    assert (deepchecks.window(version), deepchecks.errors(version)) == ((3, 0), [])


RUINOUS: dict[str, dict[str, Any]] = {
    "NUL": label("s1", "a\0b"),
    "lone surrogate": label("s1", "\ud800"),
    "NUL in the id": label("s\0", "a"),
    "NUL in the id of a null": label("s\0", None),
    "12,000 characters of id": label(secrets.token_hex(6000), "a"),
    "12,000 characters of id of a null": label(secrets.token_hex(6000), None),
}


@pytest.mark.mode("sync")
@pytest.mark.parametrize(
    "bad",
    [*RUINOUS.values(), label("\ud800", "a")],
    ids=[*RUINOUS, "lone surrogate in the id"],
)
def test_label_that_ruins_the_request(deepchecks: Deepchecks, bad: dict[str, Any]) -> None:
    version = filled(deepchecks, task_type="multiclass")
    answer = deepchecks.label(version, [label("s0", "a"), label("s1", 1), bad, label("s2", "b")])
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert (deepchecks.window(version), deepchecks.errors(version)) == ((3, 0), [])
    put(deepchecks, version, label("s0", "a"), label("s2", "b"))
    assert deepchecks.window(version) == (3, 2)


@pytest.mark.mode("async")
@pytest.mark.parametrize("bad", RUINOUS.values(), ids=RUINOUS)
def test_label_that_loses_its_poll(deepchecks: Deepchecks, bad: dict[str, Any]) -> None:
    version = filled(deepchecks, task_type="multiclass")
    put(deepchecks, version, label("s0", "a"), label("s1", 1), bad, label("s2", "b"))
    assert deepchecks.label(version, [label("s1", "later")]).status_code == 200
    assert deepchecks.labelled(version, 1)
    assert labels_of(deepchecks, version) == {"s0": None, "s1": "later", "s2": None}
    assert deepchecks.errors(version) == []


# -- classes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["a", "zzz", ""], ids=["declared", "not declared", "empty"])
def test_classes_of_a_multiclass_model(deepchecks: Deepchecks, value: str) -> None:
    version = filled(deepchecks, task_type="multiclass", classes=["a", "b", "c"])
    put(deepchecks, version, label("s0", value))
    assert deepchecks.window(version) == (3, 1)
    assert deepchecks.errors(version) == []


@pytest.mark.parametrize("value", [1, 1.0])
@pytest.mark.parametrize("task_type", ["binary", "multiclass"])
def test_number_for_a_class(deepchecks: Deepchecks, task_type: str, value: float) -> None:
    version = filled(deepchecks, task_type=task_type)
    put(deepchecks, version, label("s0", value))
    assert deepchecks.window(version) == (3, 0)
    reason = "Exception saving label: data._dc_label must be string or null, for id: s0"
    assert [error["error"] for error in deepchecks.errors(version)] == [reason]


def test_third_class_of_a_binary_model_vanishes(deepchecks: Deepchecks) -> None:
    version = filled(deepchecks, 4, task_type="binary", classes=["0", "1"])
    put(deepchecks, version, label("s0", "0"), label("s1", "1"))
    put(deepchecks, version, label("s2", "2"))
    put(deepchecks, version, label("s2", "2"), label("s3", "1"))
    assert labels_of(deepchecks, version) == {"s0": "0", "s1": "1", "s2": None, "s3": "1"}
    assert deepchecks.errors(version) == []


def test_third_class_of_an_unknown_sample_is_kept(deepchecks: Deepchecks) -> None:
    version = filled(deepchecks, 2, task_type="binary", classes=["0", "1"])
    put(deepchecks, version, label("s0", "0"), label("s1", "1"))
    put(deepchecks, version, label("later", "7"))
    deepchecks.upload(version, [sample("later", _dc_prediction="5")])
    assert deepchecks.settles(version, stored=3)
    assert labels_of(deepchecks, version)["later"] == "7"
    put(deepchecks, version, label("s0", None))
    assert labels_of(deepchecks, version)["s0"] == "0"


def test_first_labels_make_the_classes(deepchecks: Deepchecks) -> None:
    version = filled(deepchecks, 3, task_type="binary")
    put(deepchecks, version, label("s0", "5"))
    put(deepchecks, version, label("s1", "6"))
    put(deepchecks, version, label("s2", "0"))
    assert labels_of(deepchecks, version) == {"s0": "5", "s1": "6", "s2": None}
