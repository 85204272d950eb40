# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The typed calls, over HTTP, against the stand-in server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_deepchecks.client.api import MAX_REFERENCE_BYTES, DeepchecksClient
from airflow_provider_deepchecks.client.settings import ClientSettings
from airflow_provider_deepchecks.client.types import ModelRef, VersionRef, WindowCounts
from airflow_provider_deepchecks.exceptions import (
    DeepchecksAuthError,
    DeepchecksConfigError,
    DeepchecksNotFoundError,
    DeepchecksRateLimitError,
    DeepchecksRequestError,
    DeepchecksServerError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_deepchecks.local_server.handle import CreatedVersion
    from airflow_provider_deepchecks.local_server.server import LocalServer

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def client(deepchecks_server: LocalServer) -> Iterator[DeepchecksClient]:
    settings = ClientSettings(deepchecks_server.url, deepchecks_server.token, timeout=20.0, retries=0)
    with DeepchecksClient(settings) as client:
        yield client


@pytest.fixture
def version(deepchecks_server: LocalServer) -> CreatedVersion:
    return deepchecks_server.create_model("m", "regression", features={"x": "numeric"})


def rows(count: int, **changes: Any) -> bytes:
    return json.dumps(
        [
            {
                "_dc_sample_id": f"s{n}",
                "_dc_time": (START + timedelta(seconds=n)).isoformat(),
                "_dc_prediction": 1.5,
                "x": 0.5,
            }
            | changes
            for n in range(count)
        ]
    ).encode()


def labels(count: int) -> bytes:
    return json.dumps([{"_dc_sample_id": f"s{n}", "_dc_label": 1.0} for n in range(count)]).encode()


def test_health_and_version(client, deepchecks_server):
    client.health()
    assert client.backend_version() == "0.19.3"
    wrong = DeepchecksClient(ClientSettings(deepchecks_server.url, "abc.def", retries=0))
    wrong.health()
    with pytest.raises(DeepchecksAuthError):
        wrong.backend_version()


def test_closed_client_connects_again(client):
    client.health()
    client.close()
    assert client.backend_version() == "0.19.3"


def test_repr_shows_no_token(client, deepchecks_server):
    assert deepchecks_server.url in repr(client)
    assert deepchecks_server.token not in repr(client) + repr(client.settings)


# -- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a/b", "..", "my model", "modèle-模型", "7", "a?b#c", "50%off", " lead", "x\ny"]
)
def test_any_name_is_found(client, deepchecks_server, name):
    deepchecks_server.create_model("other", "regression", version="v", features={"x": "numeric"})
    made = deepchecks_server.create_model(name, "regression", version=name, features={"x": "numeric"})
    model, version = client.resolve(name, name)
    assert model == ModelRef(made.model_id, name, (VersionRef(made.id, name),))
    assert version == VersionRef(made.id, name)
    assert client.resolve(name) == (model, None)


def test_name_like_an_id_is_a_name(client, version):
    with pytest.raises(DeepchecksNotFoundError, match=rf"no model '{version.model_id}'.*There are: 'm'"):
        client.resolve(str(version.model_id))


def test_unknown_names_list_the_nearest(client, deepchecks_server, version):
    with pytest.raises(DeepchecksNotFoundError, match=r"'m' has no version 'v2'\. There are: 'v1'\."):
        client.resolve("m", "v2")
    for n in range(12):
        deepchecks_server.create_model(f"Churn {n}", "regression", features={"x": "numeric"})
    with pytest.raises(DeepchecksNotFoundError, match="Nearest of 13: 'Churn 1'"):
        client.resolve("churn1")
    with pytest.raises(DeepchecksNotFoundError, match="None of the 13 is like it"):
        client.resolve("zzzzzzzz")


def test_no_models_at_all(client):
    with pytest.raises(DeepchecksNotFoundError, match="none at all"):
        client.resolve("m")


def test_models_without_the_right_to_see_all(client, deepchecks_server, version):
    deepchecks_server.answer_next(403, b"{}", {"Content-Type": "application/json"}, path="show_all")
    assert [model.name for model in client.available_models()] == ["m"]


# -- what a model is ---------------------------------------------------------------------------------------


def test_model_version_and_schema(client, deepchecks_server):
    made = deepchecks_server.create_model(
        "c",
        "multiclass",
        features={"x": "integer", "y": "categorical"},
        additional_data={"note": "text"},
        classes=["a", "b", "c"],
        alerts_delay_labels_ratio=0.5,
        alerts_delay_seconds=60,
    )
    model = client.model(made.model_id)
    assert (model.id, model.name, model.task_type) == (made.model_id, "c", "multiclass")
    assert (model.alerts_delay_labels_ratio, model.alerts_delay_seconds) == (0.5, 60)
    version = client.version(made.id)
    assert (version.id, version.name, version.model_id) == (made.id, "v1", made.model_id)
    assert version.start_time is version.end_time is None
    schema = client.schema(made.id)
    assert schema.features == {"x": "integer", "y": "categorical"}
    assert schema.additional_data == {"note": "text"}
    assert schema.classes == ("a", "b", "c")
    assert "_dc_sample_id" in schema.monitor_schema["required"]


def test_unknown_ids(client, version):
    for call in (client.model, client.version, client.schema, client.count_samples):
        with pytest.raises(DeepchecksNotFoundError):
            call(9999)
    with pytest.raises(DeepchecksNotFoundError):
        client.ingestion_status(version.model_id, 9999)


# -- sending and looking -----------------------------------------------------------------------------------


def test_samples_and_labels_arrive(client, deepchecks_server, version):
    sent = client.send_samples(version.id, rows(5), 5)
    assert sent.rows == 5
    assert sent.seconds > 0
    assert sent.server_time is not None
    client.send_labels(version.model_id, labels(3), 3)
    assert len(deepchecks_server.stored("m", "v1")) == 5
    assert client.count_samples(version.id) == 5
    assert client.version(version.id).start_time == START
    assert client.version(version.id).end_time == START + timedelta(seconds=4)

    assert client.window_counts(version.id, START, START + timedelta(seconds=4)) == WindowCounts(4, 3)
    assert client.window_counts(version.id, None, None) == WindowCounts(5, 3)
    found = client.stored_samples(version.id, START, START + timedelta(seconds=4), 100)
    assert {row["_dc_sample_id"] for row in found} == {"s0", "s1", "s2", "s3"}
    assert len(client.stored_samples(version.id, START, START + timedelta(days=1), 2)) == 2

    (status,) = client.version_statuses(version.model_id)
    assert (status.version_id, status.name, status.pending_rows) == (version.id, "v1", 0)
    assert abs(status.last_update - datetime.now(UTC)) < timedelta(minutes=1)
    (model,) = client.model_statuses()
    assert (model.model_id, model.name, model.sample_count, model.label_count) == (
        version.model_id,
        "m",
        5,
        3,
    )
    whole = client.ingestion_status(version.model_id, version.id)
    assert (whole.pending_rows, whole.samples, whole.labeled) == (0, 5, 3)
    assert whole.latest_sample == START + timedelta(seconds=4)


def test_times_in_other_zones_mean_the_same(client, version):
    from zoneinfo import ZoneInfo

    client.send_samples(version.id, rows(2), 2)
    start = START.astimezone(ZoneInfo("Asia/Tokyo"))
    assert client.window_counts(version.id, start, start + timedelta(seconds=1)).samples == 1


@pytest.mark.parametrize(
    "naive", [(datetime(2026, 1, 1), START), (START, datetime(2027, 1, 1)), ("2026-01-01", START)]
)
def test_naive_times_are_refused(client, version, naive):
    with pytest.raises(DeepchecksConfigError, match="time zone"):
        client.window_counts(version.id, *naive)
    with pytest.raises(DeepchecksConfigError, match="time zone"):
        list(client.ingestion_errors(version.model_id, start=naive[0], end=naive[1]))


@pytest.mark.parametrize("count", [0, 100_001])
def test_stored_samples_has_bounds(client, version, count):
    with pytest.raises(DeepchecksConfigError, match="100,000"):
        client.stored_samples(version.id, START, START, count)


def test_rate_limit(client, deepchecks_server, version):
    deepchecks_server.clock.go_to_second(1)
    deepchecks_server.rows_per_minute = 7
    with pytest.raises(DeepchecksRateLimitError) as caught:
        client.send_samples(version.id, rows(10), 10)
    assert caught.value.num_saved == 7
    assert client.count_samples(version.id) == 7


def test_ingestion_errors_come_in_pages_and_once_each(client, version):
    client.send_samples(version.id, rows(7, x="text"), 7)
    client.send_labels(
        version.model_id, json.dumps([{"_dc_sample_id": "s0", "_dc_label": "text"}]).encode(), 1
    )
    found = list(client.ingestion_errors(version.model_id, page_size=3))
    assert len(found) == 8
    assert len({error.id for error in found}) == 8
    samples = [error for error in found if error.version_id == version.id]
    assert {error.sample_id for error in samples} == {f"s{n}" for n in range(7)}
    assert all("number or null" in error.error for error in samples)
    assert all("'x': 'text'" in (error.sample or "") for error in samples)
    assert [error.version_id for error in found].count(None) == 1
    assert len(list(client.ingestion_errors(version.model_id, version_id=version.id))) == 7


def test_ingestion_errors_of_a_time(client, version):
    client.send_samples(version.id, rows(2, x="text"), 2)
    now = datetime.now(UTC)
    model = version.model_id
    assert len(list(client.ingestion_errors(model, start=now - timedelta(minutes=1)))) == 2
    assert len(list(client.ingestion_errors(model, end=now + timedelta(minutes=1)))) == 2
    assert list(client.ingestion_errors(model, start=now + timedelta(minutes=1))) == []
    assert list(client.ingestion_errors(model, end=now - timedelta(minutes=1))) == []


@pytest.mark.parametrize("size", [0, 301])
def test_page_size_has_bounds(client, version, size):
    with pytest.raises(DeepchecksConfigError, match="page_size"):
        next(client.ingestion_errors(version.model_id, page_size=size))


def test_server_now_follows_the_servers_clock(client, deepchecks_server):
    deepchecks_server.clock.advance(86_400)
    client.health()
    ahead = (client.server_now() - datetime.now(UTC)).total_seconds()
    assert 86_398 < ahead <= 86_400.5


# -- set-up ------------------------------------------------------------------------------------------------


def test_create_and_delete(client):
    model = client.create_model("n", "binary", description="d", alerts_delay_seconds=5)
    assert client.create_model("n", "binary") == model
    assert client.model(model).alerts_delay_labels_ratio == 1.0
    version = client.create_version(
        model, "v", features={"x": "numeric"}, classes=["n", "y"], feature_importance={"x": 1.0}
    )
    again = {"features": {"x": "numeric"}, "classes": ["n", "y"], "feature_importance": {"x": 1.0}}
    assert client.create_version(model, "v", **again) == version
    with pytest.raises(DeepchecksRequestError, match="different features") as caught:
        client.create_version(model, "v", features={"z": "numeric"})
    assert caught.value.status == 400
    client.delete_version(version)
    assert client.resolve("n")[0].versions == ()
    client.delete_model(model)
    assert client.available_models() == []


def test_reference(client, deepchecks_server, version):
    frame = {"columns": ["_dc_prediction", "x", "_dc_label"], "index": [0], "data": [[1.0, 2.0, 1.0]]}
    client.upload_reference(version.id, json.dumps(frame).encode())
    assert client.count_samples(version.id) == 0
    counts = deepchecks_server.call("GET", f"/model-versions/{version.id}/count-samples")
    assert counts["reference_count"] == 1
    with pytest.raises(DeepchecksConfigError, match="in parts"):
        client.upload_reference(version.id, b" " * (MAX_REFERENCE_BYTES + 1))


# -- answers that are none ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'"text"', b"null", b"17", b'{"version": {"a": 1}', b'[{"id": "x"}]', b"[null]"]
)
def test_unexpected_json_is_a_server_error(client, deepchecks_server, version, body):
    calls = (
        client.backend_version,
        client.available_models,
        lambda: client.model(1),
        lambda: client.version(1),
        lambda: client.schema(1),
        lambda: client.version_statuses(1),
        client.model_statuses,
        lambda: client.count_samples(1),
        lambda: client.window_counts(1, None, None),
        lambda: list(client.ingestion_errors(1)),
        lambda: client.create_model("a", "binary"),
    )
    empty_lists = 4 if body == b"[]" else 0
    failed = 0
    for call in calls:
        deepchecks_server.answer_next(200, body, {"Content-Type": "application/json"})
        try:
            call()
        except DeepchecksServerError:
            failed += 1
    assert failed == len(calls) - empty_lists


def test_missing_last_update_means_never(client, deepchecks_server, version):
    body = json.dumps([{"id": 1, "name": "v", "n_of_pending_rows": 0, "n_of_alerts": 0}]).encode()
    deepchecks_server.answer_next(200, body, {"Content-Type": "application/json"})
    (status,) = client.version_statuses(version.model_id)
    assert status.last_update == datetime(1970, 1, 1, tzinfo=UTC)


def test_time_without_offset_is_utc(client, deepchecks_server, version):
    body = json.dumps(
        [{"id": 1, "name": "v", "n_of_pending_rows": 0, "last_update_time": "2026-01-01T00:00:00"}]
    ).encode()
    deepchecks_server.answer_next(200, body, {"Content-Type": "application/json"})
    (status,) = client.version_statuses(version.model_id)
    assert status.last_update == START


def test_sample_rows_as_a_list_or_as_text(client, deepchecks_server, version):
    sample = [{"_dc_sample_id": "s0"}]
    for payload in (sample, json.dumps(sample)):
        deepchecks_server.answer_next(200, json.dumps(payload).encode(), {"Content-Type": "application/json"})
        assert client.stored_samples(version.id, START, START, 1) == sample
