# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Counts, windows, models with their versions, rows read back."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.contract.deepchecks import Deepchecks, Version, label, rows_of, sample

TIMES = ["2026-01-01T10:00:00+00:00", "2026-01-01T11:00:00+00:00", "2026-01-01T12:00:00+00:00"]


@pytest.fixture
def version(deepchecks: Deepchecks) -> Version:
    """A version with three rows an hour apart, the second labelled."""
    version = deepchecks.version()
    deepchecks.upload(version, [sample(f"s{number}", _dc_time=time) for number, time in enumerate(TIMES)])
    assert deepchecks.settles(version, stored=3)
    deepchecks.label(version, [label("s1", 1.0)])
    assert deepchecks.labelled(version, 1)
    return version


@pytest.mark.parametrize(
    ("start", "end", "counted"),
    [
        (None, None, (3, 1)),
        (TIMES[0], TIMES[2], (2, 1)),
        (TIMES[1], TIMES[2], (1, 1)),
        (TIMES[1], TIMES[1], (0, 0)),
        (TIMES[2], "2026-01-01T12:00:00.000001+00:00", (1, 0)),
        ("2026-01-01T12:00:00+02:00", "2026-01-01T13:00:00+02:00", (1, 0)),
        ("2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z", (0, 0)),
    ],
    ids=["all", "without the end", "with the start", "empty", "to the microsecond", "offset", "elsewhere"],
)
def test_window(
    deepchecks: Deepchecks, version: Version, start: str | None, end: str | None, counted: tuple[int, int]
) -> None:
    assert deepchecks.window(version, start, end) == counted


def test_window_needs_a_body(deepchecks: Deepchecks, version: Version) -> None:
    path = f"/model-versions/{version.id}/time-window-statistics"
    for answer in (deepchecks.get(path), deepchecks.get(path, params={"start_time": TIMES[0]})):
        assert answer.status_code == 422
        problem = {"loc": ["body"], "msg": "field required", "type": "value_error.missing"}
        assert answer.json()["additional_information"]["errors"] == [problem]
    assert deepchecks.send("GET", path, {}).json() == {"num_labeled_samples": 1, "num_samples": 3}


def test_count_samples(deepchecks: Deepchecks, version: Version) -> None:
    answer = deepchecks.get(f"/model-versions/{version.id}/count-samples")
    assert answer.json() == {"monitor_count": 3, "reference_count": 0}


def test_connected_models(deepchecks: Deepchecks, version: Version) -> None:
    model = deepchecks.connected_model(version)
    connected = deepchecks.connected_version(version)
    assert model == {
        "id": version.model_id,
        "name": "contract",
        "description": None,
        "task_type": "regression",
        "n_of_alerts": 0,
        "n_of_pending_rows": 0,
        "n_of_updating_versions": 0,
        "latest_update": connected["last_update_time"],
        "sample_count": 3,
        "label_count": 1,
        "label_ratio": 1 / 3,
    }
    assert set(connected) == {"id", "name", "last_update_time", "n_of_pending_rows", "n_of_alerts"}


@pytest.mark.mode("sync")
def test_last_update_moves_only_with_rows(deepchecks: Deepchecks, version: Version) -> None:
    before = deepchecks.connected_version(version)["last_update_time"]
    deepchecks.upload(version, [sample("s0"), sample("bad", f_num="x")])
    deepchecks.label(version, [label("s2", 1.0)])
    assert deepchecks.connected_version(version)["last_update_time"] == before
    deepchecks.upload(version, [sample("new")])
    assert deepchecks.connected_version(version)["last_update_time"] > before


def test_available_models(deepchecks: Deepchecks, version: Version) -> None:
    (model,) = deepchecks.get("/available-models").json()
    assert (model["id"], model["name"], model["has_data"]) == (version.model_id, "contract", True)
    assert (model["start_time"], model["latest_time"]) == (1767261600, 1767268800)
    assert model["versions"] == [
        {
            "id": version.id,
            "model_id": version.model_id,
            "name": "v1",
            "start_time": TIMES[0],
            "end_time": TIMES[2],
        }
    ]


def test_available_models_without_data(deepchecks: Deepchecks) -> None:
    deepchecks.version()
    (model,) = deepchecks.get("/available-models").json()
    assert (model["has_data"], model["start_time"], model["latest_time"]) == (False, None, None)


def test_no_models(deepchecks: Deepchecks) -> None:
    assert deepchecks.get("/available-models").json() == []
    assert deepchecks.get("/connected-models").json() == []


def production(deepchecks: Deepchecks, version: Version, **body: Any) -> list[dict[str, Any]]:
    answer = deepchecks.post(f"/model-versions/{version.id}/get-prod-data", body)
    assert answer.status_code == 200, answer.text
    return list(rows_of(answer))


def test_rows_read_back(deepchecks: Deepchecks, version: Version) -> None:
    rows = production(deepchecks, version, start_time=TIMES[0], end_time=TIMES[2], rows_count=100)
    assert {row["_dc_sample_id"] for row in rows} == {"s0", "s1"}
    assert {row["f_num"] for row in rows} == {0.5}
    rows = production(deepchecks, version, start_time=TIMES[0], end_time="2026-02-01T00:00:00Z", rows_count=2)
    assert len({row["_dc_sample_id"] for row in rows}) == 2


def test_rows_read_back_need_a_window(deepchecks: Deepchecks, version: Version) -> None:
    answer = deepchecks.post(f"/model-versions/{version.id}/get-prod-data", {"rows_count": 1})
    assert answer.status_code == 422
    body = {"start_time": TIMES[0], "end_time": TIMES[2], "rows_count": 100_001}
    assert deepchecks.post(f"/model-versions/{version.id}/get-prod-data", body).status_code == 422


def test_rows_read_back_are_100_unless_told(deepchecks: Deepchecks, version: Version) -> None:
    deepchecks.upload(version, [sample(f"t{number}", _dc_time=TIMES[1]) for number in range(120)])
    assert deepchecks.settles(version, stored=123)
    window = {"start_time": TIMES[0], "end_time": "2026-02-01T00:00:00Z"}
    assert len(production(deepchecks, version, **window)) == 100
    assert len(production(deepchecks, version, **window, rows_count=123)) == 123


def test_rows_read_back_of_an_unknown_version(deepchecks: Deepchecks) -> None:
    body = {"start_time": TIMES[0], "end_time": TIMES[2], "rows_count": 1}
    answer = deepchecks.post("/model-versions/99999/get-prod-data", body)
    message = "'ModelVersion' with next set of arguments does not exist: id=99999"
    assert (answer.status_code, answer.json()["error_message"]) == (404, message)


@pytest.mark.mode("sync")
def test_nan_does_not_break_the_version(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    deepchecks.upload(version, [sample("a", f_num=math.nan), sample("b", f_num=math.inf)])
    assert deepchecks.get(f"/model-versions/{version.id}").status_code == 200


def test_no_alerts(deepchecks: Deepchecks, version: Version) -> None:
    query = {"models": version.model_id, "resolved": "false", "severity": "high"}
    assert deepchecks.get("/alert-rules", params=query).json() == []
    assert deepchecks.get("/alert-rules").json() == []
    assert deepchecks.get("/alert-rules", params={"severity": ["low", "critical"]}).json() == []
    assert sum(deepchecks.get("/alerts/count_active").json().values()) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("monitor_id", "x"),
        ("models", "x"),
        ("severity", "huge"),
        ("is_active", "maybe"),
        ("resolved", "maybe"),
        ("start", "yesterday"),
        ("end", "yesterday"),
        ("sortby", "name"),
    ],
)
def test_query_of_alerts_is_checked(deepchecks: Deepchecks, name: str, value: str) -> None:
    answer = deepchecks.get("/alert-rules", params={name: value})
    assert answer.status_code == 422
    (problem,) = answer.json()["additional_information"]["errors"]
    assert problem["loc"][:2] == ["query", name]
