# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the server tells about its rows: counts, pending rows, ingestion errors, alerts."""

from __future__ import annotations

import base64
import csv
import io
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, StreamingResponse

from airflow_provider_deepchecks.local_server import finders
from airflow_provider_deepchecks.local_server.clock import SECOND, iso, to_datetime
from airflow_provider_deepchecks.local_server.errors import ApiError, ServerFault
from airflow_provider_deepchecks.local_server.ingest import is_poisoned
from airflow_provider_deepchecks.local_server.inputs import Opened  # noqa: TC001 - read by FastAPI

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server.inputs import Call
    from airflow_provider_deepchecks.local_server.storage import ErrorRow, Model

router = APIRouter()

#: Ingestion errors of one answer as JSON, and as CSV.
_MAX_ERRORS, _MAX_DOWNLOADED_ERRORS = 300, 10_000

_ORGANIZATION = "demo"

_FAR_PAST, _FAR_FUTURE = -(2**62), 2**62


@router.get("/connected-models")
async def connected_models(call: Opened) -> Response:
    """All models with their counts: counts every row."""
    return JSONResponse([_connected_model(call, model) for model in call.state.storage.models()])


def _connected_model(call: Call, model: Model) -> dict[str, Any]:
    storage = call.state.storage
    versions = storage.versions(model.id)
    samples, labels = storage.count_model(model.id)
    return {
        "id": model.id,
        "name": model.name,
        "description": model.description,
        "task_type": model.task_type,
        "n_of_alerts": 0,
        "n_of_pending_rows": sum(version.pending_rows for version in versions),
        "n_of_updating_versions": sum(version.pending_rows > 0 for version in versions),
        "latest_update": iso(max(version.last_update for version in versions)) if versions else None,
        "sample_count": samples,
        "label_count": labels,
        "label_ratio": labels / samples if samples else 0.0,
    }


@router.get("/connected-models/{model_id}/versions")
async def connected_versions(call: Opened) -> Response:
    """Pending rows by version: cheap."""
    model_id = call.path_int("model_id")
    call.check()
    model = finders.model_by_id(call, model_id)
    # The server has no order for them; here it is that of the ids.
    return JSONResponse(
        [
            {
                "id": version.id,
                "name": version.name,
                "last_update_time": iso(version.last_update),
                "n_of_pending_rows": version.pending_rows,
                "n_of_alerts": 0,
            }
            for version in call.state.storage.versions(model.id)
        ]
    )


@router.get("/connected-models/{model_id}/ingestion-errors")
@router.get("/connected-models/{model_id}/versions/{version_id}/ingestion-errors")
async def ingestion_errors(call: Opened) -> Response:
    """Refused rows, page by page or as CSV."""
    model_id = call.path_int("model_id")
    in_path = "version_id" in call.request.path_params
    version_id = call.path_int("version_id") if in_path else call.query_int("model_version_id")
    key = call.query_choice("sort_key", ("timestamp", "error"))
    order = call.query_choice("sort_order", ("desc", "asc"))
    download = call.query_bool("download")
    limit = call.query_int("limit", 50, least=1, most=_MAX_DOWNLOADED_ERRORS)
    offset = call.query_int("offset", 0, least=0)
    start, end = call.query_int("start_time_epoch"), call.query_int("end_time_epoch")
    call.check()
    if not download and limit is not None and limit > _MAX_ERRORS:
        message = (
            f"Retrieval of more than {_MAX_ERRORS} rows by one request is not allowed. Use 'download=true' "
            f"query parameter to download more than {_MAX_ERRORS} rows of ingestion errors in csv format."
        )
        raise ApiError(400, message)
    model = finders.model_by_id(call, model_id)
    text = call.request.query_params.get("msg_contains")
    conditions = [
        ("version_id = ?", version_id),
        ("created_at >= ?", None if start is None else start * SECOND),
        ("created_at <= ?", None if end is None else end * SECOND),
        ("instr(lower(error), lower(?))", text),
    ]
    where = [(condition, value) for condition, value in conditions if value is not None]
    # All errors of a request have one time, and the server orders by nothing else: which of them comes first
    # may change from page to page. Equal messages it leaves open as well; here they keep their order.
    by = f"error {order}, id {order}" if key == "error" else f"created_at {order}, random()"
    errors = call.state.storage.errors(model.id, where, by, limit or 0, offset or 0)
    if download:
        # Streamed, so without a Content-Length (measured).
        return StreamingResponse(iter([_csv(errors)]), media_type="text/csv")
    return JSONResponse([_error_body(error) for error in errors])


def _error_body(error: ErrorRow) -> dict[str, Any]:
    return {
        "id": error.id,
        "sample_id": error.sample_id,
        "error": error.error,
        "sample": error.sample,
        "created_at": iso(error.created_at),
        "model_version_id": error.version_id,
    }


def _csv(errors: list[ErrorRow]) -> str:
    # The columns have numbers for names, and the first is the row's number: an index nobody asked for.
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["", *range(6)] if errors else [""])
    for number, error in enumerate(errors):
        created = to_datetime(error.created_at).isoformat(" ")
        writer.writerow(
            [number, error.id, error.version_id, error.sample_id, created, error.error, error.sample]
        )
    return out.getvalue()


@router.get("/available-models")
async def available_models(call: Opened) -> Response:
    """All models with their versions: from names to ids."""
    # One user, who is a member of every model: show_all changes nothing.
    return JSONResponse([_available_model(call, model) for model in call.state.storage.models()])


def _available_model(call: Call, model: Model) -> dict[str, Any]:
    if is_poisoned(model):
        raise ServerFault("the model holds a sample of year 1")
    return {
        "id": model.id,
        "name": model.name,
        "alerts_count": 0,
        "monitors_count": 0,
        "latest_time": None if model.end_time is None else model.end_time // SECOND,
        "start_time": None if model.start_time is None else model.start_time // SECOND,
        "description": model.description,
        "task_type": model.task_type,
        "has_data": model.start_time is not None,
        "max_severity": None,
        "versions": [
            {
                "id": version.id,
                "model_id": model.id,
                "name": version.name,
                "start_time": iso(version.start_time),
                "end_time": iso(version.end_time),
            }
            for version in call.state.storage.versions(model.id)
        ],
        "members": [{"id": 1, "notify": True}],
        "severities_count": {"low": 0, "medium": 0, "high": 0, "critical": 0},
    }


@router.get("/model-versions/{model_version_id}/count-samples")
async def count_samples(call: Opened) -> Response:
    """Rows of a version: a full count."""
    version_id = call.path_int("model_version_id")
    call.check()
    _, version = finders.version_by_id(call, version_id)
    storage = call.state.storage
    monitor, reference = storage.count_samples(version.id), storage.count_reference(version.id)
    return JSONResponse({"monitor_count": monitor, "reference_count": reference})


@router.get("/model-versions/{model_version_id}/time-window-statistics")
async def time_window_statistics(call: Opened) -> Response:
    """Rows of a window [start, end), and those with a label that is not null."""
    version_id = call.path_int("model_version_id")
    fields = call.fields()
    start, end = fields.time("start_time", _FAR_PAST), fields.time("end_time", _FAR_FUTURE)
    call.check()
    _, version = finders.version_by_id(call, version_id)
    samples, labelled = call.state.storage.count_window(version, start, end)
    return JSONResponse({"num_labeled_samples": labelled, "num_samples": samples})


@router.get("/alert-rules")
async def alert_rules(call: Opened) -> Response:
    """Alert rules: the stand-in runs no monitors, so there are none. The query is checked all the same."""
    call.query_int("monitor_id")
    call.check_query_time("start")
    call.check_query_time("end")
    call.check_query_ints("models")
    call.check_query_choices("severity", ("low", "medium", "high", "critical"))
    call.query_bool("is_active")
    call.query_bool("resolved")
    orders = ("severity:asc", "severity:desc", "alert-window:asc", "alert-window:desc")
    call.check_query_choices("sortby", orders)
    call.check()
    return JSONResponse([])


@router.get("/alerts/count_active")
async def count_active_alerts(call: Opened) -> Response:
    """Active alerts by severity: none."""
    return JSONResponse({})


@router.get("/organization")
async def organization(call: Opened) -> Response:
    """The organisation and where its alerts go: nowhere."""
    connected = dict.fromkeys(("is_slack_connected", "is_webhook_connected"), False)
    levels = ("slack_notification_levels", "email_notification_levels", "webhook_notification_levels")
    return JSONResponse({"name": _ORGANIZATION, **connected, **{name: [] for name in levels}})


@router.get("/users/me")
async def user(call: Opened) -> Response:
    """Whose token it is."""
    email = base64.b64decode(call.state.options.token.partition(".")[0]).decode()
    body = {
        "id": 1,
        "email": email,
        "created_at": iso(call.state.started),
        "full_name": email.partition("@")[0],
        "picture_url": None,
        "organization": {"id": 1, "name": _ORGANIZATION, "tier": "FREE"},
        "roles": ["owner", "admin"],
    }
    return JSONResponse(body, headers={"Cache-Control": "max-age=3600"})


@router.get("/organization/available-features")
async def available_features(call: Opened) -> Response:
    """What the organisation may do, the rate limit among it."""
    features = ("signup_enabled", "slack_enabled", "onboarding_enabled", "update_roles", "model_assignment")
    return JSONResponse(
        {
            **dict.fromkeys(features, False),
            "rows_per_minute": call.state.rate_limit.rows_per_minute,
            "email_enabled": False,
        }
    )
