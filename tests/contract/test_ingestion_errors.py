# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The list of refused rows."""

from __future__ import annotations

import time

import pytest

from tests.contract.deepchecks import Deepchecks, Version, eventually, label, sample

COUNT = 5


@pytest.fixture
def version(deepchecks: Deepchecks) -> Version:
    """A version with five refused rows, b0 to b4, in two kinds."""
    version = deepchecks.version()
    rows = [
        sample(f"b{number}", f_num="x") if number % 2 else sample(f"b{number}", f_int="x")
        for number in range(COUNT)
    ]
    # One by one: the server does not order errors of the same moment.
    for number, row in enumerate(rows, 1):
        deepchecks.upload(version, [row])
        assert deepchecks.settles(version, refused=number)
    return version


def test_fields(deepchecks: Deepchecks, version: Version) -> None:
    for error in deepchecks.errors(version):
        assert set(error) == {"id", "sample_id", "error", "sample", "created_at", "model_version_id"}
        assert error["created_at"].endswith("+00:00")


def test_pages_hold_each_error_once(deepchecks: Deepchecks, version: Version) -> None:
    pages = [deepchecks.errors(version, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert sorted(error["sample_id"] for page in pages for error in page) == [
        f"b{number}" for number in range(COUNT)
    ]


def test_more_than_300(deepchecks: Deepchecks, version: Version) -> None:
    answer = deepchecks.get(f"/connected-models/{version.model_id}/ingestion-errors?limit=301")
    assert answer.status_code == 400
    assert answer.json()["error_message"] == (
        "Retrieval of more than 300 rows by one request is not allowed. Use 'download=true' query parameter "
        "to download more than 300 rows of ingestion errors in csv format."
    )
    assert (
        deepchecks.get(f"/connected-models/{version.model_id}/ingestion-errors?limit=10001").status_code
        == 422
    )
    assert deepchecks.get(f"/connected-models/{version.model_id}/ingestion-errors?limit=0").status_code == 422


def test_download(deepchecks: Deepchecks, version: Version) -> None:
    header, *rows = deepchecks.downloaded(version, sort_order="asc")
    assert header == ["", "0", "1", "2", "3", "4", "5"]
    assert {row[3] for row in rows} == {f"b{number}" for number in range(COUNT)}
    by_id = {str(error["id"]): error for error in deepchecks.errors(version)}
    for number, error_id, version_id, sample_id, created_at, error, text in rows:
        listed = by_id[error_id]
        assert number.isdigit()
        assert version_id == str(version.id)
        assert (sample_id, error, text) == (listed["sample_id"], listed["error"], listed["sample"])
        assert created_at == listed["created_at"].replace("T", " ")


def test_download_of_more_than_300(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    deepchecks.upload(version, [sample(f"b{number}", f_num="x") for number in range(350)])
    assert eventually(lambda: len(deepchecks.downloaded(version)) == 351, deepchecks.patience)
    _, *rows = deepchecks.downloaded(version)
    assert {row[3] for row in rows} == {f"b{number}" for number in range(350)}
    assert len(deepchecks.downloaded(version, limit=310)) == 311


def test_pages_by_message_hold_each_error_of_a_request_once(deepchecks: Deepchecks) -> None:
    """By time there is no order among them; messages tell them apart."""
    version = deepchecks.version()
    deepchecks.upload(version, [sample(f"b{number}", f_num="x") for number in range(90)])
    assert deepchecks.settles(version, refused=90)
    pages = [deepchecks.errors(version, sort_key="error", limit=20, offset=20 * page) for page in range(5)]
    found = [error["sample_id"] for page in pages for error in page]
    assert sorted(found) == sorted(f"b{number}" for number in range(90))
    reasons = [error["error"] for page in pages for error in page]
    assert reasons == sorted(reasons)


def test_download_is_streamed(deepchecks: Deepchecks, version: Version) -> None:
    answer = deepchecks.get(f"/connected-models/{version.model_id}/ingestion-errors?download=true")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Content-Length" not in answer.headers


def test_filters(deepchecks: Deepchecks, version: Version) -> None:
    other = deepchecks.version(name="v2")
    deepchecks.upload(other, [sample("other", f_num="x")])
    assert deepchecks.settles(version, refused=COUNT + 1)
    deepchecks.label(version, [label("b0", "x")])
    assert deepchecks.settles(version, refused=COUNT + 2)
    assert len(deepchecks.errors(version, model_version_id=version.id)) == COUNT
    assert [error["sample_id"] for error in deepchecks.errors(version, model_version_id=other.id)] == [
        "other"
    ]
    answer = deepchecks.get(f"/connected-models/{version.model_id}/versions/{version.id}/ingestion-errors")
    assert len(answer.json()) == COUNT
    now = int(time.time())
    recent = {"start_time_epoch": now - 600, "end_time_epoch": now + 600}
    assert len(deepchecks.errors(version, **recent)) == COUNT + 2
    assert deepchecks.errors(version, start_time_epoch=now + 600) == []
    assert deepchecks.errors(version, end_time_epoch=now - 600) == []


def test_order(deepchecks: Deepchecks, version: Version) -> None:
    deepchecks.upload(version, [sample("last", f_cat=1)])
    assert deepchecks.settles(version, refused=COUNT + 1)
    assert deepchecks.errors(version)[-1]["sample_id"] == "last"
    newest_first = deepchecks.get(f"/connected-models/{version.model_id}/ingestion-errors").json()
    assert newest_first[0]["sample_id"] == "last"
    reasons = [error["error"] for error in deepchecks.errors(version, sort_key="error")]
    assert reasons == sorted(reasons)


def test_unknown_choice(deepchecks: Deepchecks, version: Version) -> None:
    answer = deepchecks.get(f"/connected-models/{version.model_id}/ingestion-errors?sort_key=size")
    assert answer.status_code == 422
