# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Requests that the recordings do not show: the stand-in answers in the words of the server's framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server import LocalServer

MODEL = {"name": "m", "task_type": "regression", "alerts_delay_labels_ratio": 1.0, "alerts_delay_seconds": 0}
VERSION = {"name": "v1", "features": {"x": "numeric"}, "additional_data": {}}
WINDOW = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-02-01T00:00:00Z"}


def request(server: LocalServer, method: str, path: str, body: Any = None) -> httpx.Response:
    headers = {"Authorization": f"Basic {server.token}"}
    return httpx.request(method, f"{server.url}/api/v1{path}", json=body, headers=headers)


@pytest.fixture
def server(deepchecks_server: LocalServer) -> LocalServer:
    """A server with model 1 and version 1."""
    deepchecks_server.create_model("m", "regression", features={"x": "numeric"})
    return deepchecks_server


@pytest.mark.parametrize(
    ("method", "path", "body", "location", "message"),
    [
        ("POST", "/models", [], ["body"], "value is not a valid dict"),
        ("POST", "/models", None, ["body"], "field required"),
        ("POST", "/models", MODEL | {"name": None}, ["body", "name"], "none is not an allowed value"),
        ("POST", "/models", MODEL | {"name": {}}, ["body", "name"], "str type expected"),
        (
            "POST",
            "/models",
            MODEL | {"alerts_delay_labels_ratio": "x"},
            ["body", "alerts_delay_labels_ratio"],
            "value is not a valid float",
        ),
        (
            "POST",
            "/models",
            MODEL | {"alerts_delay_seconds": "x"},
            ["body", "alerts_delay_seconds"],
            "value is not a valid integer",
        ),
        (
            "POST",
            "/models/1/version",
            VERSION | {"features": []},
            ["body", "features"],
            "value is not a valid dict",
        ),
        (
            "POST",
            "/models/1/version",
            VERSION | {"classes": 1},
            ["body", "classes"],
            "value is not a valid list",
        ),
        ("POST", "/model-versions/1/data", None, ["body"], "field required"),
        (
            "POST",
            "/model-versions/1/get-prod-data",
            WINDOW | {"rows_count": 100_001},
            ["body", "rows_count"],
            "ensure this value is less than or equal to 100000",
        ),
        (
            "GET",
            "/connected-models/1/ingestion-errors?limit=0",
            None,
            ["query", "limit"],
            "ensure this value is greater than or equal to 1",
        ),
        (
            "GET",
            "/connected-models/1/ingestion-errors?download=maybe",
            None,
            ["query", "download"],
            "value could not be parsed to a boolean",
        ),
        (
            "POST",
            "/models/1/version",
            VERSION | {"feature_importance": {"x": "much"}},
            ["body", "feature_importance", "x"],
            "value is not a valid float",
        ),
        (
            "POST",
            "/models/1/version",
            VERSION | {"feature_importance": {"x": None}},
            ["body", "feature_importance", "x"],
            "value is not a valid float",
        ),
        (
            "GET",
            "/alert-rules?models=1&models=x",
            None,
            ["query", "models", 1],
            "value is not a valid integer",
        ),
        (
            "GET",
            "/alert-rules?severity=huge",
            None,
            ["query", "severity", 0],
            "value is not a valid enumeration member; permitted: 'low', 'medium', 'high', 'critical'",
        ),
        (
            "GET",
            "/alert-rules?start=2026-01-01",
            None,
            ["query", "start"],
            "invalid datetime format",
        ),
        (
            "GET",
            "/models/1?identifier_kind=size",
            None,
            ["query", "identifier_kind"],
            "value is not a valid enumeration member; permitted: 'id', 'name'",
        ),
    ],
)
def test_what_is_not_valid(
    server: LocalServer, method: str, path: str, body: Any, location: list[str | int], message: str
) -> None:
    answer = request(server, method, path, body)
    assert answer.status_code == 422
    (problem,) = answer.json()["additional_information"]["errors"]
    assert (problem["loc"], problem["msg"]) == (location, message)


def test_all_problems_come_at_once(server: LocalServer) -> None:
    answer = request(server, "POST", "/model-versions/x/data", {})
    problems = answer.json()["additional_information"]["errors"]
    assert [problem["loc"] for problem in problems] == [["path", "model_version_id"], ["body"]]


def test_window_that_is_no_time(server: LocalServer) -> None:
    path = "/model-versions/1/time-window-statistics"
    assert request(server, "GET", path, {"start_time": "yesterday"}).status_code == 500
    assert request(server, "GET", path, {"start_time": "2026-01-01"}).json()["num_samples"] == 0


def test_times_in_a_query(server: LocalServer) -> None:
    query = "start=1767225600&end=2026-01-01T00:00:00Z&sortby=severity:asc&is_active=1"
    assert request(server, "GET", f"/alert-rules?{query}").json() == []


@pytest.mark.parametrize("path", ["get-prod-data", "get-ref-data"])
def test_negative_number_of_rows(server: LocalServer, path: str) -> None:
    answer = request(server, "POST", f"/model-versions/1/{path}", WINDOW | {"rows_count": -1})
    assert answer.status_code == 500
    assert request(server, "POST", f"/model-versions/1/{path}", WINDOW | {"rows_count": 0}).json() == "[]"


def test_importance_of_features_is_kept_as_numbers(server: LocalServer) -> None:
    definition = VERSION | {"name": "v2", "feature_importance": {"x": 1}}
    version_id = request(server, "POST", "/models/1/version", definition).json()["id"]
    assert request(server, "POST", "/models/1/version", definition).json() == {"id": version_id}
    schema = request(server, "GET", f"/model-versions/{version_id}/schema").json()
    assert schema["feature_importance"] == {"x": 1.0}


def test_times_have_statistics(server: LocalServer) -> None:
    version = server.create_model("m", "regression", version="v2", features={"d": "datetime"})
    row = {"_dc_sample_id": "a", "_dc_time": "2026-01-01T00:00:00Z", "_dc_prediction": 1.0}
    rows = [row | {"d": "1970-01-01T00:00:10Z"}, row | {"_dc_sample_id": "b", "d": None}]
    server.call("POST", f"/model-versions/{version.id}/data", rows)
    statistics = server.call("GET", f"/model-versions/{version.id}")["statistics"]
    assert statistics["d"] == {"max": 10.0, "min": 10.0}


def test_impossible_time_in_a_feature(server: LocalServer) -> None:
    version = server.create_model("m", "regression", version="v2", features={"d": "datetime"})
    row = {"_dc_sample_id": "a", "_dc_time": "2026-01-01T00:00:00Z", "_dc_prediction": 1.0}
    answer = request(
        server, "POST", f"/model-versions/{version.id}/data", [row | {"d": "2026-01-32T00:00:00Z"}]
    )
    assert answer.status_code == 500
    assert server.stored("m", "v2") == {}


def test_statistics_keep_a_limited_number_of_values(server: LocalServer) -> None:
    version = server.create_model("m", "regression", version="v2", features={"c": "categorical"})
    row = {"_dc_time": "2026-01-01T00:00:00Z", "_dc_prediction": 1.0}
    rows = [row | {"_dc_sample_id": f"s{number}", "c": f"c{number}"} for number in range(1_500)]
    server.call("POST", f"/model-versions/{version.id}/data", rows)
    statistics = server.call("GET", f"/model-versions/{version.id}")["statistics"]
    assert len(statistics["c"]["values"]) == 1_000


def test_id_that_cannot_be_a_key(deepchecks_consumer_server: LocalServer) -> None:
    server = deepchecks_consumer_server
    version = server.create_model("m", "regression", features={})
    row = {"_dc_time": "2026-01-01T00:00:00Z", "_dc_prediction": 1.0}
    body = b'[{"_dc_sample_id": "\\ud800", "_dc_time": "2026-01-01T00:00:00Z", "_dc_prediction": 1.0}]'
    headers = {"Authorization": f"Basic {server.token}", "Content-Type": "application/json"}
    url = f"{server.url}/api/v1/model-versions/{version.id}/data"
    assert httpx.post(url, content=body, headers=headers).status_code == 500
    server.call("POST", f"/model-versions/{version.id}/data", [row | {"_dc_sample_id": "a"}])
    server.wait_until_idle()
    assert server.stored("m", "v1").keys() == {"a"}


def test_canned_answer_to_a_large_body(server: LocalServer) -> None:
    server.answer_next(413, b"<html>too large</html>")
    url = f"{server.url}/api/v1/model-versions/1/data"
    answer = httpx.post(url, content=b"x" * 5_000_000)
    assert (answer.status_code, answer.text) == (413, "<html>too large</html>")


def test_description_of_the_api(server: LocalServer) -> None:
    description = httpx.get(f"{server.url}/api/v1/openapi.json").json()
    assert "/api/v1/model-versions/{model_version_id}/data" in description["paths"]
