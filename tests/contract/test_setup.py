# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Models, versions, their names and schemas."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.contract.deepchecks import ADDITIONAL, FEATURES, Deepchecks, sample

NAMES = [
    "my model",
    "modèle-ü-模型",
    "a?b#c",
    "50%off",
    "a+b",
    "A" * 50,
    "模" * 50,
    " lead",
    "x\ny",
    "7",
]


# -- models -------------------------------------------------------------------------------------------------


def test_existing_model(deepchecks: Deepchecks) -> None:
    made = deepchecks.post_model("m", description="one").json()
    assert set(made) == {"id"}
    assert deepchecks.post_model("m", description="one").json() == made
    assert deepchecks.post_model("m").json() == made
    assert deepchecks.post_model("m", alerts_delay_seconds=99).json() == made
    assert deepchecks.post_model("m", foo=1).json() == made
    assert deepchecks.get(f"/models/{made['id']}").json() == {
        "id": made["id"],
        "name": "m",
        "description": "one",
        "task_type": "regression",
        "alerts_delay_labels_ratio": 1.0,
        "alerts_delay_seconds": 0,
        "obj_store_path": None,
    }


@pytest.mark.parametrize(
    ("task_type", "fields", "difference"),
    [
        ("binary", {}, "the task type 'TaskType.BINARY and not the task type 'TaskType.REGRESSION'"),
        ("regression", {"description": "two"}, "the description 'two and not the description 'one'"),
    ],
)
def test_existing_model_with_a_difference(
    deepchecks: Deepchecks, task_type: str, fields: dict[str, Any], difference: str
) -> None:
    deepchecks.post_model("m", description="one")
    answer = deepchecks.post_model("m", task_type, **fields)
    assert answer.status_code == 400
    assert answer.json()["error_message"] == f"A model with the name 'm' already exists but with {difference}"


def test_second_model(deepchecks: Deepchecks) -> None:
    deepchecks.post_model("m")
    answer = deepchecks.post_model("m2")
    if deepchecks.switches is None and answer.status_code == 200:
        # The on-premise edition takes any number.
        assert {model["name"] for model in deepchecks.get("/available-models").json()} == {"m", "m2"}
        return
    assert answer.status_code == 402
    message = "Adding more than 1 model requires to set up a subscription. Set up through "
    assert answer.json()["error_message"].startswith(message)


@pytest.mark.parametrize(
    "missing", ["name", "task_type", "alerts_delay_labels_ratio", "alerts_delay_seconds"]
)
def test_model_without_a_field(deepchecks: Deepchecks, missing: str) -> None:
    body = {
        "name": "m",
        "task_type": "regression",
        "alerts_delay_labels_ratio": 1.0,
        "alerts_delay_seconds": 0,
    }
    del body[missing]
    answer = deepchecks.post("/models", body)
    assert answer.status_code == 422
    problem = {"loc": ["body", missing], "msg": "field required", "type": "value_error.missing"}
    assert answer.json()["additional_information"]["errors"] == [problem]
    loc = f"('body', '{missing}')"
    message = f"[{{'loc': {loc}, 'msg': 'field required', 'type': 'value_error.missing'}}]"
    assert answer.json()["error_message"] == message


def test_model_of_an_unknown_task(deepchecks: Deepchecks) -> None:
    assert deepchecks.post_model("m", "clustering").status_code == 500


def test_longest_names(deepchecks: Deepchecks) -> None:
    answer = deepchecks.post_model("x" * 51)
    assert answer.status_code == 422
    problem = answer.json()["additional_information"]["errors"][0]
    assert problem["msg"] == "ensure this value has at most 50 characters"
    assert problem["ctx"] == {"limit_value": 50}
    version = deepchecks.version(name="v" * 100)
    assert deepchecks.post_version(version.model_id, "v" * 101).status_code == 422


def test_deleted_model(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    answer = deepchecks.client.delete(f"/models/{version.model_id}")
    assert (answer.status_code, answer.json()) == (200, None)
    assert deepchecks.get("/available-models").json() == []
    assert deepchecks.get(f"/models/{version.model_id}").status_code == 404
    deepchecks.forget_models()


# -- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_names_that_paths_can_hold(deepchecks: Deepchecks, name: str) -> None:
    model_id = deepchecks.post_model(name).json()["id"]
    path = f"/models/{quote(name, safe='')}"
    answer = deepchecks.get(f"{path}?identifier_kind=name")
    assert (answer.status_code, answer.json()["name"], answer.json()["id"]) == (200, name, model_id)
    made = deepchecks.post(
        f"{path}/version?identifier_kind=name",
        {"name": name, "features": FEATURES, "additional_data": ADDITIONAL},
    ).json()
    assert deepchecks.get(f"{path}/versions?identifier_kind=name").json() == [
        {"id": made["id"], "name": name}
    ]
    answer = deepchecks.get(f"{path}/model-versions/{quote(name, safe='')}")
    assert (answer.json()["id"], answer.json()["name"]) == (made["id"], name)
    assert [model["name"] for model in deepchecks.get("/connected-models").json()] == [name]


@pytest.mark.parametrize("name", ["team/model", ".."])
def test_names_that_paths_cannot_hold(deepchecks: Deepchecks, name: str) -> None:
    model_id = deepchecks.post_model(name).json()["id"]
    path = f"/models/{quote(name, safe='')}"
    assert deepchecks.get(f"{path}?identifier_kind=name").status_code == 404
    assert deepchecks.post(f"{path}/version?identifier_kind=name", {}).status_code == 405
    version_id = deepchecks.post_version(model_id, name).json()["id"]
    assert deepchecks.get(f"{path}/model-versions/{quote(name, safe='')}").status_code == 404
    (model,) = deepchecks.get("/available-models").json()
    assert (model["id"], model["name"]) == (model_id, name)
    assert [(version["id"], version["name"]) for version in model["versions"]] == [(version_id, name)]


def test_name_that_looks_like_an_id(deepchecks: Deepchecks) -> None:
    name = "123456"
    model_id = deepchecks.post_model(name).json()["id"]
    answer = deepchecks.get(f"/models/{name}")
    assert answer.status_code == 404
    assert answer.json()["error_message"] == "'Model' with next set of arguments does not exist: id=123456"
    assert deepchecks.get(f"/models/{name}?identifier_kind=name").json()["id"] == model_id
    assert deepchecks.get(f"/models/{model_id}?identifier_kind=id").json()["name"] == name


def test_unknown_names(deepchecks: Deepchecks) -> None:
    model_id = deepchecks.post_model("m").json()["id"]
    answer = deepchecks.get("/models/m")
    assert answer.status_code == 400
    assert answer.json()["error_message"].endswith("additional HTTP query parameter: identifier_kind=name")
    answer = deepchecks.get("/models/nope?identifier_kind=name")
    assert answer.status_code == 404
    assert answer.json()["error_message"] == "'Model' with next set of arguments does not exist: name=nope"
    answer = deepchecks.get("/models/m/model-versions/nope")
    message = f"'ModelVersion' with next set of arguments does not exist: name=nope; model_id={model_id}"
    assert (answer.status_code, answer.json()["error_message"]) == (404, message)


def test_version_deleted_by_names(deepchecks: Deepchecks) -> None:
    kept, deleted = deepchecks.version(), deepchecks.version(name="v 2")
    path = "/models/contract/model-versions/v%202"
    assert deepchecks.get(path).json()["id"] == deleted.id
    answer = deepchecks.client.delete(path)
    assert (answer.status_code, answer.json()) == (200, None)
    missing = f"name=v 2; model_id={kept.model_id}"
    message = f"'ModelVersion' with next set of arguments does not exist: {missing}"
    for answer in (deepchecks.get(path), deepchecks.client.delete(path)):
        assert (answer.status_code, answer.json()["error_message"]) == (404, message)
    answer = deepchecks.client.delete("/models/nope/model-versions/v1")
    assert answer.status_code == 404
    assert answer.json()["error_message"] == "'Model' with next set of arguments does not exist: name=nope"
    assert deepchecks.get(f"/model-versions/{deleted.id}").status_code == 404
    assert deepchecks.get(f"/model-versions/{kept.id}").status_code == 200


# -- versions -----------------------------------------------------------------------------------------------


def test_existing_version(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    turned = dict(reversed(FEATURES.items()))
    assert deepchecks.post_version(version.model_id).json() == {"id": version.id}
    assert deepchecks.post_version(version.model_id, features=turned).json() == {"id": version.id}


@pytest.mark.parametrize(
    ("fields", "difference"),
    [
        ({"features": {"z": "numeric"}}, "features"),
        ({"features": {**FEATURES, "f_int": "numeric"}}, "features"),
        ({"additional_data": {}}, "non features"),
        ({"feature_importance": dict.fromkeys(FEATURES, 0.25)}, "feature importance"),
    ],
)
def test_existing_version_with_a_difference(
    deepchecks: Deepchecks, fields: dict[str, Any], difference: str
) -> None:
    version = deepchecks.version()
    answer = deepchecks.post_version(version.model_id, **fields)
    message = f'A model version with the name "v1" already exists but with different {difference}'
    assert (answer.status_code, answer.json()["error_message"]) == (400, message)


@pytest.mark.parametrize("classes", [None, ["a", "c"]], ids=["none", "others"])
def test_existing_version_with_other_classes(deepchecks: Deepchecks, classes: list[str] | None) -> None:
    version = deepchecks.version("binary", classes=["a", "b"])
    answer = deepchecks.post_version(version.model_id, classes=["a", "b"])
    assert (answer.status_code, answer.json()) == (200, {"id": version.id})
    answer = deepchecks.post_version(version.model_id, **({} if classes is None else {"classes": classes}))
    assert answer.status_code == 400
    beginning = 'A model version with the name "v1" already exists but with different '
    assert answer.json()["error_message"].startswith(beginning)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        (
            {"classes": ["a", "b"]},
            400,
            "Classes parameter is valid only for classification, bot model task is regression",
        ),
        (
            {"features": {"_dc_time": "datetime"}},
            400,
            "Can't use the following names for columns: {'_dc_time'}",
        ),
        (
            {"features": {"x": "numeric"}, "additional_data": {"x": "numeric"}},
            400,
            "Can't use same column name in both features and additional_data: {'x'}",
        ),
    ],
)
def test_version_that_cannot_be(
    deepchecks: Deepchecks, fields: dict[str, Any], status: int, message: str
) -> None:
    answer = deepchecks.post_version(deepchecks.post_model("m").json()["id"], **fields)
    assert (answer.status_code, answer.json()["error_message"]) == (status, message)


def test_version_of_an_unknown_column_type(deepchecks: Deepchecks) -> None:
    answer = deepchecks.post_version(deepchecks.post_model("m").json()["id"], features={"x": "float"})
    assert answer.status_code == 422
    assert len(answer.text) == 995
    problem = answer.json()["additional_information"]["errors"][0]
    assert problem["loc"] == ["body", "features", "x"]
    assert problem["ctx"]["enum_values"][0] == "numeric"


def test_version_without_additional_data(deepchecks: Deepchecks) -> None:
    model_id = deepchecks.post_model("m").json()["id"]
    answer = deepchecks.post(f"/models/{model_id}/version", {"name": "v1", "features": FEATURES})
    assert answer.status_code == 422
    assert deepchecks.post_version(model_id, features={}, additional_data={}).status_code == 200


def test_version_of_an_unknown_model(deepchecks: Deepchecks) -> None:
    answer = deepchecks.post_version(99999)
    message = "'Model' with next set of arguments does not exist: id=99999"
    assert (answer.status_code, answer.json()["error_message"]) == (404, message)


@pytest.mark.parametrize(
    "classes",
    [["a"], ["b", "a"], ["a", "b", "c"]],
    ids=["too few", "not sorted", "too many for a binary model"],
)
def test_classes_that_cannot_be(deepchecks: Deepchecks, classes: list[str]) -> None:
    model_id = deepchecks.post_model("m", "binary").json()["id"]
    assert deepchecks.post_version(model_id, classes=classes).status_code == 400


@pytest.mark.parametrize(
    "column",
    ["a b/c\"d'é", "c" * 70, "a%b", "a(b)", "a:b"],
    ids=["quotes", "long", "percent", "brackets", "colon"],
)
def test_column_names(deepchecks: Deepchecks, column: str) -> None:
    version = deepchecks.version(features={column: "numeric"}, additional_data={})
    row = {"_dc_sample_id": "s", "_dc_time": "2026-01-01T00:00:00Z", "_dc_prediction": 1, column: 1.0}
    assert deepchecks.upload(version, [row]).status_code == 200
    assert deepchecks.settles(version, stored=1)


@pytest.mark.parametrize(
    ("features", "status"),
    [
        (["A", "a"], 200),
        (["c" * 63 + "1", "c" * 63 + "2"], 500),
        ([f"f{number}" for number in range(100)], 200),
        ([f"f{number}" for number in range(1700)], 500),
    ],
    ids=["case only", "equal in 63 characters", "100", "1700"],
)
def test_sets_of_columns(deepchecks: Deepchecks, features: list[str], status: int) -> None:
    model_id = deepchecks.post_model("m").json()["id"]
    answer = deepchecks.post_version(
        model_id, features=dict.fromkeys(features, "numeric"), additional_data={}
    )
    assert answer.status_code == status


def test_schema(deepchecks: Deepchecks) -> None:
    schema = deepchecks.get(f"/model-versions/{deepchecks.version().id}/schema").json()
    columns = {
        "extra": {"type": ["string", "null"]},
        "f_cat": {"type": ["string", "null"]},
        "f_int": {"type": ["integer", "null"], "maximum": 2147483647, "minimum": -2147483648},
        "f_num": {"type": ["number", "null"]},
        "f_bool": {"type": ["boolean", "null"]},
        "_dc_prediction": {"type": "number"},
    }
    own = {"_dc_time": {"type": "string", "format": "date-time"}, "_dc_sample_id": {"type": "string"}}
    required = ["f_num", "f_int", "f_cat", "f_bool"]
    assert schema == {
        "monitor_schema": {
            "type": "object",
            "required": [*required, "_dc_sample_id", "_dc_time", "_dc_prediction"],
            "properties": columns | own,
            "additionalProperties": False,
        },
        "reference_schema": {
            "type": "object",
            "required": [*required, "_dc_prediction"],
            "properties": columns | {"_dc_label": {"type": ["number", "null"]}},
            "additionalProperties": False,
        },
        "features": FEATURES,
        "additional_data": ADDITIONAL,
        "classes": None,
        "label_map": None,
        "feature_importance": None,
    }
    # Columns come in the order PostgreSQL keeps them in, not in that of the definition.
    assert list(schema["features"]) == ["f_cat", "f_int", "f_num", "f_bool"]


def test_schema_of_other_types(deepchecks: Deepchecks) -> None:
    features = {"b": "bigint", "d": "datetime", "a": "array_float", "m": "array_float_2d"}
    version = deepchecks.version(features=features, additional_data={})
    schema = deepchecks.get(f"/model-versions/{version.id}/schema").json()
    assert schema["features"] == features
    numbers = {"type": "array", "items": {"type": "number"}}
    properties = schema["monitor_schema"]["properties"]
    assert {name: properties[name] for name in features} == {
        "b": {"type": ["integer", "null"], "maximum": 2**63 - 1, "minimum": -(2**63)},
        "d": {"type": ["string", "null"], "format": "date-time"},
        "a": {"type": ["array", "null"], "items": {"type": "number"}},
        "m": {"type": ["array", "null"], "items": numbers},
    }


def test_schema_with_classes(deepchecks: Deepchecks) -> None:
    version = deepchecks.version("multiclass", classes=["a", "b", "c"])
    schema = deepchecks.get(f"/model-versions/{version.id}/schema").json()
    assert schema["classes"] == ["a", "b", "c"]
    properties = schema["monitor_schema"]["properties"]
    assert properties["_dc_prediction"] == {"type": "string"}
    assert properties["_dc_prediction_probabilities"] == {
        "type": ["array", "null"],
        "items": {"type": "number"},
        "maxItems": 3,
        "minItems": 3,
    }
    assert "_dc_prediction_probabilities" not in schema["monitor_schema"]["required"]


def test_version_body(deepchecks: Deepchecks) -> None:
    version = deepchecks.version()
    empty = deepchecks.get(f"/model-versions/{version.id}").json()
    assert (empty["start_time"], empty["end_time"]) == (
        "3000-01-01T00:00:00+00:00",
        "1970-01-01T00:00:00+00:00",
    )
    deepchecks.upload(
        version, [sample("a", _dc_time="2026-01-01T12:00:00+02:00"), sample("b", f_num=2.5, f_cat="b")]
    )
    assert deepchecks.settles(version, stored=2)
    body = deepchecks.get(f"/model-versions/{version.id}").json()
    assert body == deepchecks.get("/models/contract/model-versions/v1").json()
    assert body["start_time"] == "2026-01-01T10:00:00+00:00"
    assert body["features_columns"] == FEATURES
    assert body["statistics"]["f_num"] == {"max": 2.5, "min": 0.5}
    assert sorted(body["statistics"]["f_cat"]["values"]) == ["a", "b"]
    assert body["meta_columns"] == {"_dc_time": "datetime", "_dc_sample_id": "text"}
    assert body["model_columns"] == {"_dc_prediction": "numeric"}
