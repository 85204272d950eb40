# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The stand-in in a thread: what a test may switch and look up. The wire itself is in tests/contract."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from airflow_provider_deepchecks.client.api import DeepchecksClient
from airflow_provider_deepchecks.client.settings import ClientSettings
from airflow_provider_deepchecks.local_server import CreatedVersion, LocalServer, Options


def row(sample_id: str, **changes: Any) -> dict[str, Any]:
    moment = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    return {"_dc_sample_id": sample_id, "_dc_time": moment, "_dc_prediction": 1.5, "x": 0.5, **changes}


def make(server: LocalServer, name: str = "delays", **fields: Any) -> CreatedVersion:
    return server.create_model(name, "regression", features={"x": "numeric"}, **fields)


def upload(server: LocalServer, version: CreatedVersion, *rows: dict[str, Any]) -> None:
    server.call("POST", f"/model-versions/{version.id}/data", list(rows))


def test_look_ups(deepchecks_server: LocalServer) -> None:
    version = make(deepchecks_server)
    good, bad = row("a"), row("b", x="text")
    upload(deepchecks_server, version, good, bad)
    deepchecks_server.call(
        "PUT", f"/model/{version.model_id}/labels", [{"_dc_sample_id": "a", "_dc_label": 2.5}]
    )
    assert deepchecks_server.stored("delays", "v1") == {"a": good}
    assert deepchecks_server.labels("delays") == {"a": 2.5}
    assert [error.sample_id for error in deepchecks_server.errors("delays", "v1")] == ["b"]
    assert [error.sample_id for error in deepchecks_server.errors("delays")] == ["b"]


def test_look_up_of_unknown_names(deepchecks_server: LocalServer) -> None:
    make(deepchecks_server)
    with pytest.raises(KeyError, match="no model 'other'"):
        deepchecks_server.labels("other")
    with pytest.raises(KeyError, match="no version 'v2' of model 'delays'"):
        deepchecks_server.stored("delays", "v2")


def test_models_without_limit(deepchecks_server: LocalServer) -> None:
    made = [make(deepchecks_server, name) for name in ("one", "two")]
    made.append(make(deepchecks_server, "two", version="v2"))
    assert [(version.model_id, version.id) for version in made] == [(1, 1), (2, 2), (2, 3)]


def test_errors_of_calls_name_what_was_called(deepchecks_server: LocalServer) -> None:
    with pytest.raises(RuntimeError, match=r"GET /models/1: HTTP 404 .*does not exist: id=1"):
        deepchecks_server.call("GET", "/models/1")


def test_fixture_sets_the_airflow_connection(
    deepchecks_server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    assert os.environ["AIRFLOW_CONN_DEEPCHECKS_DEFAULT"] == deepchecks_server.connection_json
    assert deepchecks_server.url in deepchecks_server.connection_json


def test_repr_hides_the_token(deepchecks_server: LocalServer) -> None:
    assert deepchecks_server.token not in repr(deepchecks_server)
    assert deepchecks_server.token not in repr(deepchecks_server.options)


def test_starts_and_stops_quickly() -> None:
    started = time.monotonic()
    with LocalServer() as server:
        assert httpx.get(f"{server.url}/api/v1/health-check").text == "ok"
    assert time.monotonic() - started < 4


def test_stops_although_a_connection_is_open() -> None:
    with httpx.Client() as client:
        started = time.monotonic()
        with LocalServer() as server:
            client.get(f"{server.url}/api/v1/health-check")
        assert time.monotonic() - started < 4


def test_answers_of_a_proxy_in_trouble(deepchecks_server: LocalServer) -> None:
    version = make(deepchecks_server)
    path = f"{deepchecks_server.url}/api/v1/model-versions/{version.id}/data"
    headers = {"Authorization": f"Basic {deepchecks_server.token}"}
    deepchecks_server.answer_next(
        503, b"<html>busy</html>", {"Content-Type": "text/html"}, path="/data", times=2
    )
    answers = [httpx.post(path, json=[row("a")], headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].text == "<html>busy</html>"
    assert answers[0].headers["Content-Type"] == "text/html"
    assert deepchecks_server.stored("delays", "v1").keys() == {"a"}


def test_canned_answer_waits_for_its_path(deepchecks_server: LocalServer) -> None:
    deepchecks_server.answer_next(502, path="/labels")
    assert httpx.get(f"{deepchecks_server.url}/api/v1/health-check").status_code == 200


def test_exchanges(deepchecks_server: LocalServer) -> None:
    version = make(deepchecks_server)
    upload(deepchecks_server, version, row("a"))
    deepchecks_server.call("GET", f"/connected-models/{version.model_id}/ingestion-errors?limit=2")
    *_, posted, read = deepchecks_server.exchanges
    assert (posted.method, posted.path, posted.status) == (
        "POST",
        f"/api/v1/model-versions/{version.id}/data",
        200,
    )
    assert posted.bytes_received > 50
    assert read.path.endswith("ingestion-errors?limit=2")


def test_clock_moves_date_and_minutes() -> None:
    with LocalServer(Options(clock_offset=7200)) as server:
        answer = httpx.get(f"{server.url}/api/v1/health-check")
        ahead = parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()
        assert 7190 < ahead < 7210
        server.clock.go_to_second(59)
        answer = httpx.get(f"{server.url}/api/v1/health-check")
        assert parsedate_to_datetime(answer.headers["Date"]).second in {59, 0}


def test_clock_that_is_stopped_moves_by_hand_only(deepchecks_server: LocalServer) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    deepchecks_server.clock.offset = 3600
    deepchecks_server.clock.stop_at(noon)
    time.sleep(0.01)
    assert deepchecks_server.clock.time() == pytest.approx(noon.timestamp(), abs=1e-5)
    deepchecks_server.clock.advance(90)
    answer = httpx.get(f"{deepchecks_server.url}/api/v1/health-check")
    assert parsedate_to_datetime(answer.headers["Date"]) == noon + timedelta(seconds=90)


def test_rate_limit_can_be_set_while_running(deepchecks_server: LocalServer) -> None:
    version = make(deepchecks_server)
    deepchecks_server.rows_per_minute = 2
    with pytest.raises(RuntimeError, match=r'HTTP 413 .*"num_saved":2'):
        upload(deepchecks_server, version, row("a"), row("b"), row("c"))
    assert deepchecks_server.rows_per_minute == 2
    assert deepchecks_server.call("GET", "/organization/available-features")["rows_per_minute"] == 2


def test_errors_of_one_moment_have_no_order(deepchecks_server: LocalServer) -> None:
    """Who pages by time loses some; that all 400 fall into place by chance is out of the question."""
    version = make(deepchecks_server)
    upload(deepchecks_server, version, *(row(f"b{number}", x="text") for number in range(400)))
    path = f"/connected-models/{version.model_id}/ingestion-errors?limit=100"
    pages = [deepchecks_server.call("GET", f"{path}&offset={offset}") for offset in range(0, 400, 100)]
    assert [len(page) for page in pages] == [100] * 4
    assert len({error["id"] for page in pages for error in page}) < 400


def test_errors_of_different_moments_are_in_order(deepchecks_server: LocalServer) -> None:
    version = make(deepchecks_server)
    for number in range(5):
        upload(deepchecks_server, version, row(f"b{number}", x="text"))
        deepchecks_server.clock.advance(1)
    path = f"/connected-models/{version.model_id}/ingestion-errors?sort_order="
    oldest_first = [error["sample_id"] for error in deepchecks_server.call("GET", f"{path}asc")]
    assert oldest_first == [f"b{number}" for number in range(5)]
    newest_first = [error["sample_id"] for error in deepchecks_server.call("GET", f"{path}desc")]
    assert newest_first == oldest_first[::-1]


def test_the_client_gets_all_errors_of_one_moment(deepchecks_server: LocalServer) -> None:
    version = make(deepchecks_server)
    upload(deepchecks_server, version, *(row(f"b{number}", x="text") for number in range(400)))
    settings = ClientSettings(base_url=deepchecks_server.url, token=deepchecks_server.token)
    with DeepchecksClient(settings) as client:
        found = list(client.ingestion_errors(version.model_id, page_size=30))
    assert sorted(error.sample_id or "" for error in found) == sorted(f"b{number}" for number in range(400))


# -- with a consumer ----------------------------------------------------------------------------------------


def test_held_and_released(deepchecks_consumer_server: LocalServer) -> None:
    server = deepchecks_consumer_server
    version = make(server)
    server.pause_consumer()
    upload(server, version, row("a"))
    with pytest.raises(TimeoutError, match="still busy"):
        server.wait_until_idle(timeout=0.2)
    assert server.stored("delays", "v1") == {}
    server.resume_consumer()
    server.wait_until_idle()
    assert server.stored("delays", "v1").keys() == {"a"}


def test_lost_polls(deepchecks_consumer_server: LocalServer) -> None:
    server = deepchecks_consumer_server
    version = make(server)
    server.lose_next_poll(2)
    for number in range(3):
        upload(server, version, row(f"s{number}"))
        server.wait_until_idle()
    assert server.stored("delays", "v1").keys() == {"s2"}
    assert server.errors("delays") == []


def test_rows_of_a_deleted_version_are_dropped(deepchecks_consumer_server: LocalServer) -> None:
    server = deepchecks_consumer_server
    kept, deleted = make(server), make(server, version="v2")
    server.pause_consumer()
    upload(server, deleted, row("gone"))
    server.call("PUT", f"/model/{kept.model_id}/labels", [{"_dc_sample_id": "a", "_dc_label": 1.0}])
    upload(server, kept, row("a"))
    server.call("DELETE", f"/model-versions/{deleted.id}")
    server.resume_consumer()
    server.wait_until_idle()
    assert server.stored("delays", "v1").keys() == {"a"}
    assert server.labels("delays") == {"a": 1.0}


def test_poll_size_and_delay() -> None:
    options = Options(one_model=False, consumer=True, consumer_delay=0.2, poll_size=2)
    with LocalServer(options) as server:
        version = make(server)
        started = time.monotonic()
        upload(server, version, *(row(f"s{number}") for number in range(5)))
        server.wait_until_idle()
        assert time.monotonic() - started > 3 * 0.2
        assert len(server.stored("delays", "v1")) == 5
