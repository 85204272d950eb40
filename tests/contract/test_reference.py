# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Reference rows: multipart field ``batch``, JSON as pandas writes it with ``orient="split"``."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.deepchecks import ABSENT, Deepchecks, Version, rows_of

if TYPE_CHECKING:
    import httpx

ROW = {
    "_dc_prediction": 1.5,
    "f_num": 0.5,
    "f_int": 3,
    "f_cat": "a",
    "f_bool": True,
    "extra": "x",
    "_dc_label": 2.0,
}


def table(*rows: dict[str, Any], index: bool = True) -> bytes:
    """Rows in the orientation of pandas' split."""
    columns = list(rows[0]) if rows else list(ROW)
    content: dict[str, Any] = {"columns": columns, "data": [[row[name] for name in columns] for row in rows]}
    if index:
        content["index"] = list(range(len(rows)))
    return json.dumps(content).encode()


def changed(**changes: Any) -> dict[str, Any]:
    """A good reference row, with changes."""
    return {name: value for name, value in {**ROW, **changes}.items() if value is not ABSENT}


def upload(deepchecks: Deepchecks, version: Version, content: bytes, field: str = "batch") -> httpx.Response:
    """Send reference rows."""
    return deepchecks.client.post(
        f"/model-versions/{version.id}/reference", files={field: ("upload", content)}
    )


def count(deepchecks: Deepchecks, version: Version) -> int:
    """Stored reference rows."""
    return int(deepchecks.get(f"/model-versions/{version.id}/count-samples").json()["reference_count"])


def test_uploads_add_up_apart_from_the_samples(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    answer = upload(deepchecks, version, table(ROW, ROW))
    assert (answer.status_code, answer.content) == (200, b"")
    assert upload(deepchecks, version, table(ROW)).status_code == 200
    answer = deepchecks.get(f"/model-versions/{version.id}/count-samples")
    assert answer.json() == {"monitor_count": 0, "reference_count": 3}
    assert deepchecks.connected_model(version)["sample_count"] == 0
    answer = deepchecks.post(f"/model-versions/{version.id}/get-ref-data", {"rows_count": 2})
    assert len(list(rows_of(answer))) == 2


@pytest.mark.parametrize(
    "rows",
    [
        [changed(_dc_label=ABSENT)],
        [changed(_dc_label=None)],
        [changed(extra=ABSENT)],
        [changed(f_num=None, f_cat=None), ROW],
        [changed(f_int=None), ROW],
        [changed(f_bool=None), ROW],
        [changed(f_num=float("nan")), ROW],
        [changed(f_int=3.0)],
        [changed(extra="2026-01-01"), changed(extra="123")],
        [changed(f_cat="1"), changed(f_cat="2")],
    ],
    ids=[
        "no label",
        "null label",
        "no additional data",
        "nulls",
        "null integer",
        "null boolean",
        "NaN",
        "3.0",
        "texts that look like others",
        "categories that look like numbers",
    ],
)
def test_stored(deepchecks: Deepchecks, rows: list[dict[str, Any]]) -> None:
    version = deepchecks.version()
    assert upload(deepchecks, version, table(*rows)).status_code == 200
    assert count(deepchecks, version) == len(rows)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([changed(f_num=ABSENT)], "data must contain ['f_num'] properties"),
        ([changed(_dc_prediction=ABSENT)], "data must contain ['_dc_prediction'] properties"),
        ([changed(zzz=1)], "data must not contain {'zzz'} properties"),
        ([ROW, changed(f_num="bad"), ROW], "data.f_num must be number or null"),
        ([changed(_dc_label="cat")], "data._dc_label must be number or null"),
    ],
    ids=["feature missing", "prediction missing", "unknown column", "one bad row of three", "wrong label"],
)
def test_refused_as_a_whole(deepchecks: Deepchecks, rows: list[dict[str, Any]], reason: str) -> None:
    version = deepchecks.version()
    answer = upload(deepchecks, version, table(*rows))
    assert (answer.status_code, answer.json()["error_message"]) == (400, f"Invalid reference data: {reason}")
    assert count(deepchecks, version) == 0


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([ROW]).encode(),
        json.dumps({name: {"0": value} for name, value in ROW.items()}).encode(),
        b"hello",
    ],
    ids=["records", "columns", "no JSON"],
)
def test_other_orientations(deepchecks: Deepchecks, content: bytes) -> None:
    version = deepchecks.version()
    assert upload(deepchecks, version, content).status_code == 500
    assert upload(deepchecks, version, gzip.compress(content)).status_code == 500
    assert count(deepchecks, version) == 0


def test_index_is_not_needed(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    assert upload(deepchecks, version, table(ROW, index=False)).status_code == 200
    assert count(deepchecks, version) == 1


def test_upload_without_rows_leaves_one(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    assert upload(deepchecks, version, table()).status_code == 200
    assert count(deepchecks, version) == 1


def test_other_bodies(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    path = f"/model-versions/{version.id}/reference"
    for answer in (
        upload(deepchecks, version, table(ROW), field="file"),
        deepchecks.post(path, {"data": []}),
    ):
        assert answer.status_code == 422
        problem = {"loc": ["body", "batch"], "msg": "field required", "type": "value_error.missing"}
        assert answer.json()["additional_information"]["errors"] == [problem]
    multipart = b'--XX\r\nContent-Disposition: form-data; name="batch"\r\n\r\n{}\r\n--XX--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=XX"}
    answer = deepchecks.client.post(path, content=multipart, headers=headers)
    assert answer.status_code == 422
    assert "Expected UploadFile, received: <class 'str'>" in answer.json()["error_message"]
    answer = deepchecks.client.post(path, content=iter([multipart]), headers=headers)
    assert answer.status_code == 411
    assert answer.json()["error_message"] == "Content-length header value is required"


def test_unknown_version(deepchecks: Deepchecks) -> None:
    answer = upload(deepchecks, Version(99999, 0, ""), table(ROW))
    message = "DeclarativeMeta with the identifier 99999 was not found."
    assert (answer.status_code, answer.json()["error_message"]) == (404, message)


@pytest.mark.mode("sync")
def test_largest_body(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    answer = upload(deepchecks, version, table(changed(extra="x" * 21_000_000)))
    assert answer.status_code == 413
    assert "Date" in answer.headers
    assert answer.json()["error_message"] == "Maximum allowed content-length is 19.073486328125 MB"
    assert upload(deepchecks, version, table(changed(extra="x" * 19_990_000))).status_code == 200
    assert count(deepchecks, version) == 1


@pytest.mark.mode("sync")
def test_rows_beyond_100_000_are_cut_off_silently(deepchecks: Deepchecks) -> None:
    version = deepchecks.version(features={}, additional_data={})
    row = {"_dc_prediction": 1.5}
    for expected in (60_000, 100_000):
        assert upload(deepchecks, version, table(*[row] * 60_000)).status_code == 200
        assert count(deepchecks, version) == expected
    answer = upload(deepchecks, version, table(row))
    assert answer.status_code == 400
    message = "Maximum allowed number of reference data samples is already uploaded"
    assert answer.json()["error_message"] == message
