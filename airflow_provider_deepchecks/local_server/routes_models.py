# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Setting up models and versions, and reading them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from airflow_provider_deepchecks.local_server import finders
from airflow_provider_deepchecks.local_server.clock import iso
from airflow_provider_deepchecks.local_server.errors import ApiError, ServerFault, not_found
from airflow_provider_deepchecks.local_server.inputs import Opened  # noqa: TC001 - read by FastAPI
from airflow_provider_deepchecks.local_server.schema import (
    ColumnType,
    empty_statistics,
    jsonb,
    meta_columns,
    model_columns,
    monitor_schema,
    reference_schema,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_deepchecks.local_server.inputs import Call, Fields
    from airflow_provider_deepchecks.local_server.storage import Model, Version

router = APIRouter()

_TASK_TYPES = {"regression", "binary", "multiclass"}

#: PostgreSQL takes at most so many columns, five of which are the server's own.
_MAX_COLUMNS = 1_600 - 5

#: PostgreSQL cuts column names at so many bytes.
_MAX_COLUMN_NAME = 63


@router.post("/models")
async def create_model(call: Opened) -> Response:
    """Make a model, or give the id of the one that has the name."""
    fields = call.fields()
    name = fields.text("name", required=True, longest=50) or ""
    task_type = str(fields.get("task_type", required=True))
    ratio = fields.number("alerts_delay_labels_ratio", required=True)
    seconds = fields.whole("alerts_delay_seconds", required=True)
    description = fields.text("description", longest=200)
    store = fields.text("obj_store_path")
    call.check()
    if task_type not in _TASK_TYPES:
        raise ServerFault(f"unknown task type {task_type}")
    storage = call.state.storage
    if model := storage.model(name=name):
        _check_same_model(model, task_type, description)
        return JSONResponse({"id": model.id})
    if call.state.options.one_model and storage.models():
        url = str(call.request.base_url)
        message = "Adding more than 1 model requires to set up a subscription. Set up through"
        raise ApiError(402, f"{message} {url}workspace-settings")
    return JSONResponse({"id": storage.add_model(name, task_type, description, ratio, seconds, store)})


def _check_same_model(model: Model, task_type: str, description: str | None) -> None:
    # The unpaired quotes are the server's.
    beginning = f"A model with the name '{model.name}' already exists but with the "
    if model.task_type != task_type:
        given, there = f"TaskType.{task_type.upper()}", f"TaskType.{model.task_type.upper()}"
        raise ApiError(400, f"{beginning}task type '{given} and not the task type '{there}'")
    if description is not None and model.description != description:
        raise ApiError(
            400, f"{beginning}description '{description} and not the description '{model.description}'"
        )


@router.get("/models/{model_id}")
async def get_model(call: Opened) -> Response:
    """One model."""
    model = finders.named_model(call)
    return JSONResponse(
        {
            "id": model.id,
            "name": model.name,
            "description": model.description,
            "task_type": model.task_type,
            "alerts_delay_labels_ratio": model.alerts_delay_labels_ratio,
            "alerts_delay_seconds": model.alerts_delay_seconds,
            "obj_store_path": model.obj_store_path,
        }
    )


@router.delete("/models/{model_id}")
async def delete_model(call: Opened) -> Response:
    """Delete a model with all its versions."""
    call.state.storage.delete_model(finders.named_model(call).id)
    return JSONResponse(None)


@router.get("/models/{model_id}/versions")
async def list_versions(call: Opened) -> Response:
    """Ids and names of a model's versions."""
    versions = call.state.storage.versions(finders.named_model(call).id)
    return JSONResponse([{"id": version.id, "name": version.name} for version in versions])


@router.post("/models/{model_id}/version")
async def create_version(call: Opened) -> Response:
    """Make a version, or give the id of the one that has the name."""
    fields = call.fields()
    name = fields.text("name", required=True, longest=100) or ""
    definition: dict[str, Any] = {
        "features": _columns(call, fields, "features"),
        "additional_data": _columns(call, fields, "additional_data"),
        "feature_importance": fields.numbers("feature_importance"),
        "classes": fields.list_of_texts("classes"),
        "label_map": fields.mapping("label_map"),
    }
    call.check()
    model = finders.named_model(call)
    storage = call.state.storage
    _check_classes(model, definition["classes"])
    if version := storage.version_by_name(model.id, name):
        _check_same_version(version, definition)
        return JSONResponse({"id": version.id})
    _check_columns(model, definition)
    columns = {
        **definition["features"],
        **definition["additional_data"],
        **model_columns(model.task_type, definition["classes"]),
        **meta_columns(),
    }
    statistics = empty_statistics(columns)
    version_id = storage.add_version(model.id, name, definition, statistics, call.state.clock.now())
    return JSONResponse({"id": version_id})


def _columns(call: Call, fields: Fields, name: str) -> dict[str, str]:
    columns = fields.mapping(name, required=True) or {}
    permitted = ", ".join(repr(kind.value) for kind in ColumnType)
    message = f"value is not a valid enumeration member; permitted: {permitted}"
    for column, kind in columns.items():
        if kind not in {known.value for known in ColumnType}:
            call.note(("body", name, column), message, "type_error.enum", enum_values=list(ColumnType))
    return columns


def _check_classes(model: Model, classes: list[str] | None) -> None:
    if classes is None:
        return
    if model.task_type == "regression":
        message = "Classes parameter is valid only for classification, bot model task is regression"
        raise ApiError(400, message)
    if len(classes) < 2:
        raise ApiError(400, f"Classes list must contain at least 2 classes, got {len(classes)}")
    if model.task_type == "binary" and len(classes) != 2:
        raise ApiError(400, f"Got {len(classes)} classes but task type is binary")
    if classes != sorted(classes):
        raise ApiError(400, "Classes list must be sorted alphabetically")


def _check_same_version(version: Version, definition: Mapping[str, Any]) -> None:
    beginning = f'A model version with the name "{version.name}" already exists but with different '
    for key, what in (
        ("features", "features"),
        ("additional_data", "non features"),
        ("feature_importance", "feature importance"),
        ("classes", "classes"),
        ("label_map", "label map"),
    ):
        if getattr(version, key) != definition[key]:
            raise ApiError(400, beginning + what)


def _check_columns(model: Model, definition: Mapping[str, Any]) -> None:
    features, additional = definition["features"], definition["additional_data"]
    own = {**model_columns(model.task_type, definition["classes"]), **meta_columns()}
    if reserved := {*features, *additional} & {*own}:
        raise ApiError(400, f"Can't use the following names for columns: {reserved}")
    if common := {*features} & {*additional}:
        raise ApiError(400, f"Can't use same column name in both features and additional_data: {common}")
    cut = {column.encode()[:_MAX_COLUMN_NAME] for column in (*features, *additional)}
    count = len(features) + len(additional)
    if len(cut) != count or count > _MAX_COLUMNS:
        raise ServerFault("PostgreSQL refuses the table")


@router.get("/models/{model_name}/model-versions/{version_name}")
async def get_version_by_name(call: Opened) -> Response:
    """One version, by names."""
    return JSONResponse(_version_body(*_version_by_names(call)))


@router.delete("/models/{model_name}/model-versions/{version_name}")
async def delete_version_by_name(call: Opened) -> Response:
    """Delete a version, by names."""
    _, version = _version_by_names(call)
    call.state.storage.delete_version(version.id)
    return JSONResponse(None)


def _version_by_names(call: Call) -> tuple[Model, Version]:
    names = call.request.path_params
    model = finders.model_by_name(call, names["model_name"])
    if version := call.state.storage.version_by_name(model.id, names["version_name"]):
        return model, version
    raise not_found("ModelVersion", name=names["version_name"], model_id=model.id)


@router.get("/model-versions/{model_version_id}")
async def get_version(call: Opened) -> Response:
    """One version."""
    version_id = call.path_int("model_version_id")
    call.check()
    return JSONResponse(_version_body(*finders.version_by_id(call, version_id)))


@router.delete("/model-versions/{model_version_id}")
async def delete_version(call: Opened) -> Response:
    """Delete a version with its rows."""
    version_id = call.path_int("model_version_id")
    call.check()
    _, version = finders.version_by_id(call, version_id)
    call.state.storage.delete_version(version.id)
    return JSONResponse(None)


@router.get("/model-versions/{model_version_id}/schema")
async def get_schema(call: Opened) -> Response:
    """What the rows of a version must look like."""
    version_id = call.path_int("model_version_id")
    call.check()
    model, version = finders.version_by_id(call, version_id)
    parts = (model.task_type, version.features, version.additional_data, version.classes)
    return JSONResponse(
        {
            "monitor_schema": monitor_schema(*parts),
            "reference_schema": reference_schema(*parts),
            "features": jsonb(version.features),
            "additional_data": jsonb(version.additional_data),
            "classes": version.classes,
            "label_map": jsonb(version.label_map),
            "feature_importance": jsonb(version.feature_importance),
        }
    )


def _version_body(model: Model, version: Version) -> dict[str, Any]:
    return {
        "id": version.id,
        "model_id": version.model_id,
        "name": version.name,
        "start_time": iso(version.start_time),
        "end_time": iso(version.end_time),
        "features_columns": jsonb(version.features),
        "additional_data_columns": jsonb(version.additional_data),
        "model_columns": jsonb(model_columns(model.task_type, version.classes)),
        "meta_columns": jsonb(meta_columns()),
        "feature_importance": jsonb(version.feature_importance),
        "statistics": jsonb(_without_nan(version.statistics)),
        "classes": version.classes,
        "label_map": jsonb(version.label_map),
        "balance_classes": False,
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
