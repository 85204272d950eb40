# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Addresses, token, error shapes, connections."""

from __future__ import annotations

import base64
import gzip
import json
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from tests.contract.deepchecks import Deepchecks, sample


def bare(deepchecks: Deepchecks, path: str, authorization: str | None = None) -> httpx.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    url = f"{deepchecks.url}/api/v1{path}"
    return httpx.get(url, headers=headers, trust_env=False, verify=deepchecks.tls)


def test_health_check_needs_no_token(deepchecks: Deepchecks) -> None:
    answer = bare(deepchecks, "/health-check")
    assert (answer.status_code, answer.text) == (200, "ok")


def test_backend_version_checks_the_token(deepchecks: Deepchecks) -> None:
    assert bare(deepchecks, "/backend-version").status_code == 401
    assert set(deepchecks.get("/backend-version").json()) == {"version"}


def test_say_hello(deepchecks: Deepchecks) -> None:
    assert deepchecks.get("/say-hello").json() == "Hello world"


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (None, "expired or invalid access token"),
        ("Basic bm9ib2R5QGV4YW1wbGUuY29t.abcdefgh", "Received invalid secret"),
        ("Basic abcdef", "Received incorrect/old secret"),
        ("Basic @@@@.abc", "Received invalid secret"),
        ("Basic abcde.abc", "Received invalid secret - incorrect base64 email"),
        ("Basic dXNlcjpwYXNz", "Received incorrect/old secret"),
        ("Bearer {token}", "Could not validate credentials"),
        ("{token}", "expired or invalid access token"),
        ("Token {token}", "expired or invalid access token"),
        ("Basic {token}x", "Received invalid secret"),
    ],
)
def test_wrong_tokens(deepchecks: Deepchecks, authorization: str | None, message: str) -> None:
    given = authorization and authorization.format(token=deepchecks.token)
    answer = bare(deepchecks, "/connected-models", given)
    assert answer.status_code == 401
    assert answer.json() == {"error_message": message, "additional_information": {}}


def test_scheme_in_small_letters(deepchecks: Deepchecks) -> None:
    assert bare(deepchecks, "/connected-models", f"basic {deepchecks.token}").status_code == 200


def test_token_is_looked_at_before_the_version(deepchecks: Deepchecks) -> None:
    headers = {"Authorization": "Basic abcdef"}
    assert deepchecks.post("/model-versions/9999/data", [], headers=headers).status_code == 401


def test_token_is_the_literal_one_and_starts_with_the_mail_address(deepchecks: Deepchecks) -> None:
    assert b"@" in base64.b64decode(deepchecks.token.partition(".")[0])


@pytest.mark.parametrize("path", ["/nothing-here", "/model-versions/1/data"])
def test_unknown_get(deepchecks: Deepchecks, path: str) -> None:
    answer = deepchecks.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error_message": "Not Found", "additional_information": {}}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/model-versions/1/data/"),
        ("PUT", "/model/1/labels/"),
        ("DELETE", "/models/1/"),
        ("DELETE", "/model-versions/1/"),
        ("PUT", "/models/1/labels"),
        ("POST", "/model/1/labels"),
        ("POST", "/nothing-here"),
    ],
)
def test_other_methods_and_trailing_slash(deepchecks: Deepchecks, method: str, path: str) -> None:
    answer = deepchecks.send(method, path, [sample()])
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})


def assert_dated(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    assert abs(parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()) < 60


def test_every_answer_has_a_date(deepchecks: Deepchecks) -> None:
    assert_dated(deepchecks.get("/connected-models"), 200)
    assert_dated(bare(deepchecks, "/connected-models"), 401)
    assert_dated(deepchecks.get("/nothing-here"), 404)
    assert_dated(deepchecks.post("/nothing-here", {}), 405)
    assert_dated(deepchecks.post("/models", {}), 422)
    assert_dated(deepchecks.post_model("x", "unknown"), 500)


def test_compressed_body(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    body = gzip.compress(json.dumps([sample()]).encode())
    for answer in (
        deepchecks.upload(version, body, headers={"Content-Encoding": "gzip"}),
        deepchecks.label(version, body, headers={"Content-Encoding": "gzip"}),
    ):
        assert answer.status_code == 400
        assert answer.json() == {"detail": "There was an error parsing the body"}


def test_body_that_is_no_json(deepchecks: Deepchecks) -> None:
    answer = deepchecks.upload(deepchecks.version(), b"not json")
    assert answer.status_code == 422
    problem = answer.json()["additional_information"]["errors"][0]
    assert problem["type"] == "json_invalid"
    assert problem["ctx"] == {"error": "Expecting value"}


@pytest.mark.parametrize(
    ("body", "location", "message"),
    [
        (sample(), ["body"], "value is not a valid list"),
        ([[1, 2]], ["body", 0], "value is not a valid dict"),
    ],
)
def test_body_of_another_shape(
    deepchecks: Deepchecks, body: object, location: list[object], message: str
) -> None:
    answer = deepchecks.upload(deepchecks.version(), body)
    assert answer.status_code == 422
    problem = answer.json()["additional_information"]["errors"][0]
    assert (problem["loc"], problem["msg"]) == (location, message)
    assert message in answer.json()["error_message"]


def test_body_declared_as_text(deepchecks: Deepchecks) -> None:
    answer = deepchecks.upload(deepchecks.version(), [sample()], headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422


def test_body_without_a_length(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    chunks = iter([json.dumps([sample()]).encode()])
    answer = deepchecks.client.post(
        f"/model-versions/{version.id}/data", content=chunks, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200
    assert deepchecks.settles(version, stored=1)


@pytest.mark.parametrize("what", ["data", "labels"])
def test_empty_list(deepchecks: Deepchecks, what: str) -> None:
    version = deepchecks.version()
    answer = deepchecks.upload(version, []) if what == "data" else deepchecks.label(version, [])
    assert (answer.status_code, answer.json()) == (400, {"detail": "Got empty list"})


def test_ids_nobody_has(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    answer = deepchecks.post("/model-versions/99999/data", [sample()])
    assert answer.status_code == 404
    assert (
        answer.json()["error_message"] == "'ModelVersion' with next set of arguments does not exist: id=99999"
    )
    answer = deepchecks.send("PUT", "/model/99999/labels", [{"_dc_sample_id": "s0", "_dc_label": 1.0}])
    assert answer.status_code == 404
    assert answer.json()["error_message"] == "DeclarativeMeta with the identifier 99999 was not found."
    answer = deepchecks.post("/model-versions/abc/data", [sample()])
    assert answer.status_code == 422
    problem = {"loc": ["path", "model_version_id"], "msg": "value is not a valid integer"}
    assert answer.json()["additional_information"]["errors"] == [problem | {"type": "type_error.integer"}]
    assert deepchecks.count(version) == 0


def test_whose_token_it_is(deepchecks: Deepchecks) -> None:
    answer = deepchecks.get("/users/me")
    user = answer.json()
    keys = {"id", "email", "created_at", "full_name", "picture_url", "organization", "roles"}
    assert set(user) == keys
    assert user["email"] == base64.b64decode(deepchecks.token.partition(".")[0]).decode()
    assert set(user["organization"]) == {"id", "name", "tier"}
    assert "max-age=3600" in answer.headers["Cache-Control"]
    organization = deepchecks.get("/organization").json()
    levels = {f"{way}_notification_levels" for way in ("slack", "email", "webhook")}
    assert set(organization) == {"name", "is_slack_connected", "is_webhook_connected", *levels}
    assert organization["name"] == user["organization"]["name"]


def test_models_left_behind_are_told(deepchecks: Deepchecks) -> None:
    assert deepchecks.unfit() is None
    version = deepchecks.version()
    deepchecks.upload(version, [sample(_dc_time="0001-01-01T00:00:00Z")])
    assert deepchecks.settles(version, stored=1)
    assert deepchecks.get("/available-models").status_code == 500
    assert deepchecks.unfit() == "it has contract"


def test_deleted_version(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    answer = deepchecks.client.delete(f"/model-versions/{version.id}")
    assert (answer.status_code, answer.json()) == (200, None)
    assert deepchecks.upload(version, [sample()]).status_code == 404


def test_server_error_is_plain_text_and_closes_the_connection(deepchecks: Deepchecks) -> None:
    model = {"name": "x", "task_type": "unknown", "alerts_delay_labels_ratio": 0, "alerts_delay_seconds": 0}
    with deepchecks.connection("POST", "/models", json.dumps(model).encode()) as connection:
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head_text, _, text = received.decode().partition("\r\n\r\n")
    assert head_text.startswith("HTTP/1.1 500")
    assert "content-type: text/plain; charset=utf-8" in head_text.lower()
    assert "connection: close" not in head_text.lower()
    assert text == "Internal Server Error"


@pytest.mark.mode("sync")
def test_idle_connection_is_closed_after_five_seconds(deepchecks: Deepchecks) -> None:
    with deepchecks.connection("GET", "/health-check") as connection:
        received = b""
        while not received.endswith(b"ok"):
            received += connection.recv(65536)
        answered = time.monotonic()
        assert connection.recv(65536) == b""
        assert 4 < time.monotonic() - answered < 8
