# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows in and out: samples, labels, reference rows."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile

from airflow_provider_deepchecks.local_server import finders
from airflow_provider_deepchecks.local_server.broker import Topic
from airflow_provider_deepchecks.local_server.errors import (
    ApiError,
    ServerFault,
    framework_error,
    identifier_not_found,
    rate_limit_exceeded,
)
from airflow_provider_deepchecks.local_server.inputs import (
    Call,
    Opened,
    check_token,
)
from airflow_provider_deepchecks.local_server.schema import LABEL, SAMPLE_ID
from airflow_provider_deepchecks.local_server.storage import NO_END, NO_START

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server.state import State
    from airflow_provider_deepchecks.local_server.validation import Row

router = APIRouter()

#: Largest reference upload, in bytes.
_MAX_REFERENCE_BYTES = 20_000_000

#: Most rows get-prod-data and get-ref-data give.
_MAX_ROWS_OUT = 100_000


@router.post("/model-versions/{model_version_id}/data")
async def log_samples(call: Opened) -> Response:
    """Take samples; 200 says nothing about any single row."""
    version_id = call.path_int("model_version_id")
    rows = call.rows()
    call.check()
    model, version = finders.version_by_id(call, version_id)
    taken = _take(call.state, rows, "rows")
    if call.state.options.consumer:
        await _queue(call.state, Topic("samples", version.id), taken)
    else:
        now = call.state.clock.now()
        with call.state.storage.transaction():
            if taken and call.state.ingest.samples(model, version, ((row, now) for row in taken)):
                call.state.storage.touch(version.id, call.state.clock.now())
    return _answer(call.state, rows, taken, "rows")


@router.put("/model/{model_id}/labels")
async def log_labels(call: Opened) -> Response:
    """Take labels; 200 says nothing about any single label."""
    model_id = call.path_int("model_id")
    rows = call.rows()
    call.check()
    model = call.state.storage.model(id=model_id)
    if model is None:
        raise identifier_not_found(model_id)
    taken = _take(call.state, rows, "labels")
    if call.state.options.consumer:
        await _queue(call.state, Topic("labels", model.id), taken)
    else:
        with call.state.storage.transaction():
            call.state.ingest.labels(model, taken)
    return _answer(call.state, rows, taken, "labels")


def _take(state: State, rows: list[Row], what: str) -> list[Row]:
    if not rows:
        raise framework_error(400, "Got empty list")
    return rows[: state.rate_limit.take(len(rows))]


def _answer(state: State, rows: list[Row], taken: list[Row], what: str) -> Response:
    if len(taken) < len(rows):
        raise rate_limit_exceeded(what, state.rate_limit.rows_per_minute, len(taken))
    return Response()


async def _queue(state: State, topic: Topic, rows: list[Row]) -> None:
    if state.faults.broker_down:
        await asyncio.sleep(state.options.broker_timeout)
        raise ServerFault("the broker is down")
    for row in rows:
        # The id becomes the key of the message: none at all passes here, an unusable one ruins all.
        sample_id = row.get(SAMPLE_ID, "")
        if not isinstance(sample_id, str) or not _is_encodable(sample_id):
            raise ServerFault(f"sample id {sample_id!r} cannot be a key")
    with state.storage.transaction():
        fits = state.broker.send(topic, rows, state.clock.now())
    if not fits:
        raise ServerFault("a row is too large for the broker")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@router.post("/model-versions/{model_version_id}/reference")
async def upload_reference(request: Request) -> Response:
    """Take reference rows: multipart field ``batch``, pandas' ``orient="split"``."""
    state: State = request.app.state.deepchecks
    check_token(request.headers.get("authorization"), state.options.token)
    if (length := request.headers.get("content-length")) is None:
        raise ApiError(411, "Content-length header value is required")
    if int(length) > _MAX_REFERENCE_BYTES:
        raise ApiError(413, f"Maximum allowed content-length is {_MAX_REFERENCE_BYTES / 1024 / 1024} MB")
    call = Call(request, None)
    version_id = call.path_int("model_version_id")
    async with request.form() as form:
        batch = form.get("batch")
        if batch is None:
            call.note(("body", "batch"), "field required", "value_error.missing")
        elif not isinstance(batch, UploadFile):
            call.note(("body", "batch"), f"Expected UploadFile, received: {type(batch)}", "value_error")
        call.check()
        model, version = finders.version_for_reference(call, version_id)
        content = await batch.read() if isinstance(batch, UploadFile) else b""
    with state.storage.transaction():
        state.ingest.reference(model, version, _split_rows(content))
    return Response()


def _split_rows(content: bytes) -> list[Row]:
    try:
        table = json.loads(content)
        columns, rows = table["columns"], table["data"]
        return [dict(zip(columns, row, strict=True)) for row in rows]
    except (ValueError, TypeError, KeyError):
        raise ServerFault("no JSON in the orientation of pandas' split") from None


@router.post("/model-versions/{model_version_id}/get-prod-data")
async def get_production_data(call: Opened) -> Response:
    """Some stored rows of a window [start, end), at random: a JSON text inside of JSON."""
    version_id = call.path_int("model_version_id")
    fields = call.fields()
    # The field ``filter`` is not looked at.
    fields.get("end_time", required=True)
    fields.get("start_time", required=True)
    count = fields.whole("rows_count", default=100, most=_MAX_ROWS_OUT)
    call.check()
    _check_limit(count)
    start, end = fields.time("start_time", NO_END), fields.time("end_time", NO_START)
    _, version = finders.version_by_id(call, version_id)
    found = call.state.storage.samples(version, start, end, count, shuffled=True)
    rows = [{**json.loads(row), LABEL: None if label is None else json.loads(label)} for row, label in found]
    return _json_text(rows)


@router.post("/model-versions/{model_version_id}/get-ref-data")
async def get_reference_data(call: Opened) -> Response:
    """Some reference rows, at random: a JSON text inside of JSON."""
    version_id = call.path_int("model_version_id")
    count = call.fields().whole("rows_count", default=100, most=_MAX_ROWS_OUT)
    call.check()
    _check_limit(count)
    _, version = finders.version_by_id(call, version_id)
    return _json_text([json.loads(row) for row in call.state.storage.reference(version.id, count)])


def _check_limit(count: int) -> None:
    # Not measured: inferred from PostgreSQL, which refuses a negative LIMIT.
    if count < 0:
        raise ServerFault(f"LIMIT {count}")


def _json_text(rows: list[dict[str, Any]]) -> Response:
    return JSONResponse(json.dumps(rows, separators=(",", ":")))
