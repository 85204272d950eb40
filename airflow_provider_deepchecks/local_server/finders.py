# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""From what a path names to the model or version meant, or to the 404 in the server's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_deepchecks.local_server.errors import ApiError, identifier_not_found, not_found

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server.inputs import Call
    from airflow_provider_deepchecks.local_server.storage import Model, Version

_NOT_AN_ID = (
    "entity id value must be of an integer type, if you use an entity name to query data then you need to "
    "provide an additional HTTP query parameter: identifier_kind=name"
)


def named_model(call: Call) -> Model:
    """The model a path names by id, or by name with ``identifier_kind=name``."""
    kind = call.query_choice("identifier_kind", ("id", "name"))
    call.check()
    identifier: str = call.request.path_params["model_id"]
    if kind == "name":
        return model_by_name(call, identifier)
    try:
        model_id = int(identifier)
    except ValueError:
        raise ApiError(400, _NOT_AN_ID) from None
    return model_by_id(call, model_id)


def model_by_name(call: Call, name: str) -> Model:
    """The model of that name."""
    if model := call.state.storage.model(name=name):
        return model
    raise not_found("Model", name=name)


def model_by_id(call: Call, model_id: int) -> Model:
    """The model of that id."""
    if model := call.state.storage.model(id=model_id):
        return model
    raise not_found("Model", id=model_id)


def version_by_id(call: Call, version_id: int) -> tuple[Model, Version]:
    """The version of that id, with its model."""
    if version := call.state.storage.version(version_id):
        return model_by_id(call, version.model_id), version
    raise not_found("ModelVersion", id=version_id)


def version_for_reference(call: Call, version_id: int) -> tuple[Model, Version]:
    """The version of that id; reference uploads word the 404 otherwise."""
    if not call.state.storage.version(version_id):
        raise identifier_not_found(version_id)
    return version_by_id(call, version_id)
