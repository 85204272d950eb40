# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What becomes of each sample."""

from __future__ import annotations

import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.deepchecks import ABSENT, Deepchecks, ago, eventually, sample, samples

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "feature missing": ({"f_num": ABSENT}, "data must contain ['f_num'] properties"),
    "prediction missing": ({"_dc_prediction": ABSENT}, "data must contain ['_dc_prediction'] properties"),
    "time missing": ({"_dc_time": ABSENT}, "data must contain ['_dc_time'] properties"),
    "prediction null": ({"_dc_prediction": None}, "data._dc_prediction must be number"),
    "time null": ({"_dc_time": None}, "data._dc_time must be string"),
    "unknown column": ({"unknown_col": 1}, "data must not contain {'unknown_col'} properties"),
    "label among the data": ({"_dc_label": 1.0}, "data must not contain {'_dc_label'} properties"),
    "logged time among the data": (
        {"_dc_logged_time": "2026-01-01T00:00:00+00:00"},
        "data must not contain {'_dc_logged_time'} properties",
    ),
    "text for a number": ({"f_num": "abc"}, "data.f_num must be number or null"),
    "number as text": ({"f_num": "1.5"}, "data.f_num must be number or null"),
    "boolean for a number": ({"f_num": True}, "data.f_num must be number or null"),
    "fraction for an integer": ({"f_int": 3.5}, "data.f_int must be integer or null"),
    "boolean for an integer": ({"f_int": True}, "data.f_int must be integer or null"),
    "beyond 32 bits": ({"f_int": 3_000_000_000}, "data.f_int must be smaller than or equal to 2147483647"),
    "below 32 bits": ({"f_int": -3_000_000_000}, "data.f_int must be bigger than or equal to -2147483648"),
    "just beyond 32 bits": ({"f_int": 2**31}, "data.f_int must be smaller than or equal to 2147483647"),
    "just below 32 bits": (
        {"f_int": -(2**31) - 1},
        "data.f_int must be bigger than or equal to -2147483648",
    ),
    "number for a category": ({"f_cat": 5}, "data.f_cat must be string or null"),
    "number for a boolean": ({"f_bool": 1}, "data.f_bool must be boolean or null"),
    "number for a text": ({"extra": 1}, "data.extra must be string or null"),
    "naive time": ({"_dc_time": "2026-01-01T12:00:00"}, "data._dc_time must be date-time"),
    "blank in the time": ({"_dc_time": "2026-01-01 12:00:00+00:00"}, "data._dc_time must be date-time"),
    "date alone": ({"_dc_time": "2026-01-01"}, "data._dc_time must be date-time"),
    "epoch number": ({"_dc_time": 1767225600}, "data._dc_time must be string"),
    "epoch text": ({"_dc_time": "1767225600"}, "data._dc_time must be date-time"),
    "no time at all": ({"_dc_time": "yesterday"}, "data._dc_time must be date-time"),
}

STORED: dict[str, dict[str, Any]] = {
    "largest integer": {"f_int": 2**31 - 1},
    "smallest integer": {"f_int": -(2**31)},
    "nulls in features": {"f_num": None, "f_int": None, "f_cat": None, "f_bool": None},
    "null in additional data": {"extra": None},
    "additional data missing": {"extra": ABSENT},
    "integer for a number": {"f_num": 3},
    "3.0 for an integer": {"f_int": 3.0},
    "NaN": {"f_num": float("nan")},
    "infinity": {"f_num": float("inf")},
    "NaN prediction": {"_dc_prediction": float("nan")},
    "empty id": {"_dc_sample_id": ""},
    "long id": {"_dc_sample_id": "x" * 5000},
    "older than what is there": {"_dc_time": "2026-01-01T12:00:00Z"},
    "1999": {"_dc_time": "1999-12-31T23:59:59Z"},
    "1950": {"_dc_time": "1950-01-01T00:00:00Z"},
    "year 1000": {"_dc_time": "1000-01-01T00:00:00Z"},
    "offset with colon": {"_dc_time": "2026-01-01T12:00:00+02:00"},
    "offset without colon": {"_dc_time": "2026-01-01T12:00:00+0200"},
    "nanoseconds": {"_dc_time": "2026-01-01T12:00:00.123456789Z"},
}

RUINOUS: dict[str, dict[str, Any]] = {
    "NUL": {"extra": "a\0b"},
    "lone surrogate": {"extra": "\ud800"},
    "day 32": {"_dc_time": "2026-01-32T12:00:00Z"},
    "small z": {"_dc_time": "2026-01-01T12:00:00z"},
    "year 0000": {"_dc_time": "0000-01-01T00:00:00Z"},
    "12,000 characters of id": {"_dc_sample_id": secrets.token_hex(6000)},
    "NUL in the id": {"_dc_sample_id": "c\0d"},
}


@pytest.mark.parametrize(("changes", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_and_listed(deepchecks: Deepchecks, changes: dict[str, Any], reason: str) -> None:
    version = deepchecks.version()
    answer = deepchecks.upload(version, [sample("good"), sample("bad", **changes)])
    assert (answer.status_code, answer.content) == (200, b"")
    assert deepchecks.settles(version, stored=1, refused=1)
    (error,) = deepchecks.errors(version)
    assert error["sample_id"] == "bad"
    assert error["error"] == f"Exception: {reason}, for id: bad"
    assert error["sample"].startswith("{'_dc_sample_id': 'bad', ")
    assert error["model_version_id"] == version.id


@pytest.mark.parametrize("changes", STORED.values(), ids=STORED.keys())
def test_stored(deepchecks: Deepchecks, changes: dict[str, Any]) -> None:
    version = deepchecks.version()
    assert deepchecks.upload(version, [sample("good"), sample(**changes)]).status_code == 200
    assert deepchecks.settles(version, stored=2)
    assert deepchecks.errors(version) == []


@pytest.mark.mode("sync")
@pytest.mark.parametrize("changes", RUINOUS.values(), ids=RUINOUS.keys())
def test_row_that_ruins_the_request(deepchecks: Deepchecks, changes: dict[str, Any]) -> None:
    version = deepchecks.version()
    rows = [sample("a"), sample("b", f_num="x"), sample(**{"_dc_sample_id": "c", **changes}), sample("d")]
    answer = deepchecks.upload(version, rows)
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert (deepchecks.count(version), deepchecks.errors(version)) == (0, [])
    assert deepchecks.upload(version, [sample("a"), sample("d")]).status_code == 200
    assert deepchecks.count(version) == 2


@pytest.mark.mode("async")
@pytest.mark.parametrize("changes", RUINOUS.values(), ids=RUINOUS.keys())
def test_row_that_loses_its_poll(deepchecks: Deepchecks, changes: dict[str, Any]) -> None:
    version = deepchecks.version()
    rows = [sample("a"), sample("b", f_num="x"), sample(**{"_dc_sample_id": "c", **changes}), sample("d")]
    assert deepchecks.upload(version, rows).status_code == 200
    deepchecks.fall_silent()
    assert deepchecks.upload(version, [sample("later")]).status_code == 200
    assert deepchecks.settles(version, stored=1)
    assert deepchecks.stored(version).keys() == {"later"}
    assert deepchecks.errors(version) == []


def test_time_with_an_offset_is_understood(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    deepchecks.upload(version, [sample(_dc_time="2026-01-01T12:00:00.123456789+02:00")])
    assert deepchecks.settles(version, stored=1)
    body = deepchecks.get(f"/model-versions/{version.id}").json()
    assert body["start_time"] == body["end_time"] == "2026-01-01T10:00:00.123456+00:00"


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "data._dc_sample_id must be string"), (ABSENT, "data must contain ['_dc_sample_id'] properties")],
    ids=["null", "missing"],
)
@pytest.mark.mode("sync")
def test_row_without_an_id(deepchecks: Deepchecks, value: Any, reason: str) -> None:
    version = deepchecks.version()
    assert deepchecks.upload(version, [sample("good"), sample(value)]).status_code == 200
    assert deepchecks.count(version) == 1
    (error,) = deepchecks.errors(version)
    assert (error["sample_id"], error["error"]) == (None, f"Exception: {reason}, for id: None")


@pytest.mark.mode("async")
def test_row_without_an_id_in_the_queue(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    assert deepchecks.upload(version, [sample("good"), sample(ABSENT)]).status_code == 200
    assert deepchecks.settles(version, stored=1, refused=1)
    assert deepchecks.errors(version)[0]["sample_id"] is None


@pytest.mark.mode("async")
@pytest.mark.parametrize("value", [None, 17], ids=["null", "integer"])
def test_id_that_cannot_be_queued(deepchecks: Deepchecks, value: Any) -> None:
    version = deepchecks.version()
    assert deepchecks.upload(version, [sample("good"), sample(value)]).status_code == 500
    deepchecks.fall_silent()
    assert (deepchecks.count(version), deepchecks.errors(version)) == (0, [])


@pytest.mark.mode("sync")
def test_integer_id_vanishes_and_takes_the_errors_with_it(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    rows = [sample("a"), sample(17), sample("c", f_cat=ABSENT), sample("d")]
    assert deepchecks.upload(version, rows).status_code == 200
    assert deepchecks.count(version) == 2
    assert deepchecks.errors(version) == []


# -- twice --------------------------------------------------------------------------------------------------


def test_client_that_gives_up_does_not_stop_the_request(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    # Enough for a real server to work on for longer than the client waits.
    rows = samples(300 if deepchecks.switches else 5_000)
    path = f"/model-versions/{version.id}/data"
    with deepchecks.connection("POST", path, json.dumps(rows).encode()):
        time.sleep(0 if deepchecks.switches else 1)
    assert eventually(lambda: deepchecks.count(version) == len(rows), deepchecks.patience)
    assert deepchecks.errors(version) == []
    assert deepchecks.upload(version, rows).status_code == 200
    assert eventually(lambda: len(deepchecks.downloaded(version)) == len(rows) + 1, deepchecks.patience)
    _, *listed = deepchecks.downloaded(version)
    assert {error for *_, error, _ in listed} == {
        f"Duplicate index on log for id s{number}" for number in range(len(rows))
    }
    assert deepchecks.count(version) == len(rows)


def test_two_clients_at_once_with_the_same_ids(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    both = threading.Barrier(2)

    def send(value: float) -> int:
        rows = [sample(f"s{number}", f_num=value) for number in range(250)]
        both.wait()
        return deepchecks.upload(version, rows).status_code

    with ThreadPoolExecutor(2) as clients:
        assert list(clients.map(send, (1.0, 2.0))) == [200, 200]
    assert deepchecks.settles(version, stored=250, refused=250)
    errors = deepchecks.errors(version)
    assert {error["sample_id"] for error in errors} == {f"s{number}" for number in range(250)}
    # In one poll of the consumer they are duplicates as within a request.
    kinds = ("Duplicate index on log for id", "Got duplicate sample id:")
    kinds = kinds if deepchecks.is_async else kinds[:1]
    assert all(error["error"] in [f"{kind} {error['sample_id']}" for kind in kinds] for error in errors)


def test_same_id_twice_in_a_request(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    deepchecks.upload(version, [sample("s0", f_num=1.0), sample("s0", f_num=2.0), sample("s1")])
    assert deepchecks.settles(version, stored=2, refused=1)
    assert deepchecks.errors(version)[0]["error"] == "Got duplicate sample id: s0"
    assert deepchecks.stored(version)["s0"]["f_num"] == 1.0


def test_first_write_wins(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    deepchecks.upload(version, [sample("s0", f_num=1.0), sample("s1")])
    assert deepchecks.settles(version, stored=2)
    again = [sample("s0", f_num=9.0), sample("s2")]
    deepchecks.upload(version, again)
    assert deepchecks.settles(version, stored=3, refused=1)
    deepchecks.upload(version, again)
    assert deepchecks.settles(version, stored=3, refused=3)
    errors = [error["error"] for error in deepchecks.errors(version)]
    assert sorted(errors) == [f"Duplicate index on log for id {number}" for number in ("s0", "s0", "s2")]
    assert deepchecks.stored(version)["s0"]["f_num"] == 1.0


def test_other_versions_have_ids_of_their_own(deepchecks: Deepchecks) -> None:
    for version in (deepchecks.version(), deepchecks.version(name="v2")):
        deepchecks.upload(version, [sample("s0")])
        assert deepchecks.settles(version, stored=1)
        assert deepchecks.errors(version) == []


def test_time_in_the_future(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    moment = ago(hours=-1)
    deepchecks.upload(version, [sample("good"), sample("bad", _dc_time=moment)])
    assert deepchecks.settles(version, stored=1, refused=1)
    (error,) = deepchecks.errors(version)
    assert error["error"] == f"Got future timestamp: {moment}, for sample id: bad"
    assert "'_dc_time': DateTime(20" in error["sample"]
    assert "'_dc_logged_time': DateTime(20" in error["sample"]


def test_all_kinds_at_once(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    rows = [
        sample("s0"),
        sample("s1"),
        sample("s2", f_cat=ABSENT),
        sample("s0"),
        sample("s5", _dc_time=ago(days=-1)),
    ]
    assert deepchecks.upload(version, rows).status_code == 200
    assert deepchecks.settles(version, stored=2, refused=3)


def test_the_server_clock_decides(deepchecks: Deepchecks, switches: Any) -> None:
    version = deepchecks.version()
    switches.clock.advance(-3600)
    try:
        deepchecks.upload(version, [sample()])
        assert deepchecks.settles(version, stored=0, refused=1)
        assert deepchecks.errors(version)[0]["error"].startswith("Got future timestamp: ")
    finally:
        switches.clock.advance(3600)


# -- classification -----------------------------------------------------------------------------------------

PROBABILITIES = "_dc_prediction_probabilities"


@pytest.mark.parametrize(
    "changes",
    [
        {"_dc_prediction": "a"},
        {"_dc_prediction": "zzz"},
        {"_dc_prediction": "a", PROBABILITIES: None},
        {"_dc_prediction": "a", PROBABILITIES: [0.5, 0.3, 0.2]},
        {"_dc_prediction": "a", PROBABILITIES: [1, 1, 1]},
    ],
    ids=["no probabilities", "unknown class", "null probabilities", "good probabilities", "sum of 3"],
)
def test_classified_and_stored(deepchecks: Deepchecks, changes: dict[str, Any]) -> None:
    version = deepchecks.version("multiclass", classes=["a", "b", "c"])
    deepchecks.upload(version, [sample(**changes)])
    assert deepchecks.settles(version, stored=1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"_dc_prediction": 1}, "data._dc_prediction must be string"),
        (
            {"_dc_prediction": "a", PROBABILITIES: [0.5, 0.5]},
            "data._dc_prediction_probabilities must contain at least 3 items",
        ),
    ],
    ids=["integer", "too few probabilities"],
)
def test_classified_and_refused(deepchecks: Deepchecks, changes: dict[str, Any], reason: str) -> None:
    version = deepchecks.version("multiclass", classes=["a", "b", "c"])
    deepchecks.upload(version, [sample(**changes)])
    assert deepchecks.settles(version, stored=0, refused=1)
    assert deepchecks.errors(version)[0]["error"] == f"Exception: {reason}, for id: s0"


def test_probabilities_without_classes(deepchecks: Deepchecks) -> None:
    version = deepchecks.version("binary")
    deepchecks.upload(version, [sample(_dc_prediction="0", **{PROBABILITIES: [0.5, 0.5]})])
    assert deepchecks.settles(version, stored=0, refused=1)
    reason = "data must not contain {'_dc_prediction_probabilities'} properties"
    assert deepchecks.errors(version)[0]["error"] == f"Exception: {reason}, for id: s0"


def test_other_column_types(deepchecks: Deepchecks) -> None:
    features = {"d": "datetime", "big": "bigint", "arr": "array_float", "t": "text"}
    version = deepchecks.version(features=features, additional_data={})
    row = {"_dc_sample_id": "s1", "_dc_time": "2026-01-01T00:00:00Z", "_dc_prediction": 1}
    values = {"d": "2025-01-01T00:00:00Z", "big": 9007199254740993, "arr": [1, 2.5], "t": "x"}
    deepchecks.upload(version, [row | values])
    assert deepchecks.settles(version, stored=1)


TYPES = {
    "bigint": ([2**63 - 1, -(2**63), 3.0], [2**63, -(2**63) - 1, 3.5, "3", True]),
    "datetime": (["2025-01-01T00:00:00Z", "2025-01-01T00:00:00.5+02:00"], ["2025-01-01", 1, "yesterday"]),
    "array_float": ([[], [1, 2.5]], [[1, "2"], [None], [[1.0]], 1.0, "[1.0]"]),
    "array_float_2d": ([[], [[]], [[1, 2.5], [3]]], [[1.0], [[1, "2"]], [[[1.0]]], 1.0, "[[1.0]]"]),
}


@pytest.mark.parametrize(("kind", "good", "bad"), [(kind, *values) for kind, values in TYPES.items()])
def test_values_of_other_types(deepchecks: Deepchecks, kind: str, good: list[Any], bad: list[Any]) -> None:
    version = deepchecks.version(features={"x": kind}, additional_data={})
    row = {"_dc_time": "2026-01-01T00:00:00Z", "_dc_prediction": 1}
    good_rows = [row | {"_dc_sample_id": f"g{n}", "x": value} for n, value in enumerate([*good, None])]
    bad_rows = [row | {"_dc_sample_id": f"b{n}", "x": value} for n, value in enumerate(bad)]
    assert deepchecks.upload(version, [*good_rows, *bad_rows]).status_code == 200
    assert deepchecks.settles(version, stored=len(good_rows), refused=len(bad_rows))
    assert deepchecks.stored(version).keys() == {row["_dc_sample_id"] for row in good_rows}
    for error in deepchecks.errors(version):
        assert error["error"].startswith("Exception: data.x")
        assert error["error"].endswith(f", for id: {error['sample_id']}")


# -- year 1 -------------------------------------------------------------------------------------------------


def test_time_in_year_one_breaks_the_model(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    assert deepchecks.upload(version, [sample(_dc_time="0001-01-01T00:00:00Z")]).status_code == 200
    assert deepchecks.settles(version, stored=1)
    other = deepchecks.version(name="v2")
    assert deepchecks.get(f"/model-versions/{version.id}").json()["start_time"] == "0001-01-01T00:00:00"
    for broken in (version, other):
        for row in (sample("s1"), sample("s2", f_num="x")):
            answer = deepchecks.upload(broken, [row])
            assert answer.status_code == (200 if deepchecks.is_async else 500)
            # Polls of one row each: a good row would take the refused one with it.
            deepchecks.fall_silent()
    assert (deepchecks.count(version), deepchecks.count(other)) == (1, 0)
    assert deepchecks.errors(version) == []
    assert deepchecks.get("/available-models").status_code == 500
    assert deepchecks.label(version, [{"_dc_sample_id": "s0", "_dc_label": 1.0}]).status_code == 200
    deepchecks.client.delete(f"/model-versions/{version.id}")
    deepchecks.upload(other, [sample("s2")])
    deepchecks.fall_silent()
    assert deepchecks.count(other) == 0
