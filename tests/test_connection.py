# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook, Connection

from airflow_provider_deepchecks import connection
from airflow_provider_deepchecks.client.settings import is_loopback
from airflow_provider_deepchecks.connection import FIELDS, ConnectionSettings, read_connection
from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.get_provider_info import get_provider_info

TOKEN = "Y2FuYXJ5QGV4YW1wbGUuY29t.CaNaRy-0123456789"


def read(host: str | None = "deepchecks.example.com", **fields: Any) -> ConnectionSettings:
    if "extra" in fields and not isinstance(fields["extra"], str):
        fields["extra"] = json.dumps(fields["extra"])
    arguments = {"conn_id": "dc", "conn_type": "deepchecks", "password": TOKEN, "host": host} | fields
    return read_connection(Connection(**arguments))


def test_defaults():
    settings = read()
    assert settings.client.base_url == "https://deepchecks.example.com"
    assert settings.client.host == "deepchecks.example.com"
    assert settings.client.token == TOKEN
    assert settings.client.verify is True
    assert settings.client.timeout == 60.0
    assert settings.client.retries == 5
    assert settings.samples_per_send == 10_000
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize(
    ("host", "fields", "base_url"),
    [
        ("dc.example.com", {}, "https://dc.example.com"),
        (" dc.example.com ", {}, "https://dc.example.com"),
        ("dc.example.com/", {}, "https://dc.example.com"),
        ("dc.example.com:8443", {}, "https://dc.example.com:8443"),
        ("dc.example.com", {"port": 8443}, "https://dc.example.com:8443"),
        ("dc.example.com:8443", {"port": 8443}, "https://dc.example.com:8443"),
        ("https://dc.example.com", {"schema": "https"}, "https://dc.example.com"),
        ("dc.example.com", {"schema": "HTTPS"}, "https://dc.example.com"),
        ("https://dc.example.com/tools/deepchecks/", {}, "https://dc.example.com/tools/deepchecks"),
        ("https://dc.example.com/api/v1", {}, "https://dc.example.com"),
        ("https://dc.example.com/api/v1/", {"port": 444}, "https://dc.example.com:444"),
        ("https://dc.example.com/tools/api/v1", {}, "https://dc.example.com/tools"),
        ("https://DC.Example.com", {}, "https://dc.example.com"),
        ("https://[2001:db8::1]:8443", {}, "https://[2001:db8::1]:8443"),
        ("127.0.0.1:8000", {}, "http://127.0.0.1:8000"),
        ("localhost", {"port": 8000}, "http://localhost:8000"),
        ("http://[::1]:8000/x", {}, "http://[::1]:8000/x"),
        ("localhost:8000", {"schema": "https"}, "https://localhost:8000"),
        ("http://dc.example.com", {"extra": {"allow_plain_http": True}}, "http://dc.example.com"),
        ("dc.example.com", {"schema": "http", "extra": {"allow_plain_http": "yes"}}, "http://dc.example.com"),
    ],
)
def test_host(host, fields, base_url):
    assert read(host, **fields).client.base_url == base_url


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"host": None}, "host is empty"),
        ({"host": "  "}, "host is empty"),
        ({"host": "ftp://dc.example.com"}, "host is no http"),
        ({"host": "https://"}, "host is no http"),
        ({"host": "dc example com"}, "host is no http"),
        ({"host": "https://dc.example.com:port"}, "host is no address"),
        ({"host": "https://[broken"}, "host is no address"),
        ({"host": "[broken"}, "host is no address"),
        ({"host": "https://user:CaNaRy@dc.example.com"}, "host holds a user"),
        ({"host": "https://dc.example.com/?token=CaNaRy"}, "host ends in"),
        ({"host": "https://dc.example.com/#models"}, "host ends in"),
        ({"host": "https://dc.example.com:1", "port": 2}, "port is 2, the host says 1"),
        ({"schema": "deepchecks"}, "schema is neither"),
        ({"host": "http://localhost", "schema": "https"}, "schema says https"),
        ({"host": "http://dc.example.com"}, "allow_plain_http"),
        ({"schema": "http"}, "allow_plain_http"),
        ({"host": "http://localhost.example.com"}, "allow_plain_http"),
        ({"host": "http://127.0.0.1.example.com"}, "allow_plain_http"),
        ({"host": "http://128.0.0.1"}, "allow_plain_http"),
        ({"password": None}, "password"),
        ({"password": "CaNaRy\n"}, "line break"),
        ({"password": "CaNaRyé"}, "password"),
        ({"password": "Basic CaNaRy"}, "begins with the word Basic or Bearer"),
        ({"extra": {"timeout": "soon"}}, "timeout must be a whole number of at least 1"),
        ({"extra": {"timeout": 0}}, "timeout must"),
        ({"extra": {"timeout": 10_000_000_000}}, "timeout must be at most 1,000,000,000 seconds"),
        ({"extra": {"timeout": True}}, "timeout must"),
        ({"extra": {"timeout": 1.5}}, "timeout must"),
        ({"extra": {"retries": -1}}, "retries must be a whole number of at least 0"),
        ({"extra": {"samples_per_send": "0"}}, "samples_per_send must"),
        ({"extra": {"skip_tls_verification": "maybe"}}, "skip_tls_verification must be true or false"),
        ({"extra": {"skip_tls_verification": 2}}, "skip_tls_verification must be true or false"),
        ({"extra": {"skip_tls_verification": []}}, "skip_tls_verification must be true or false"),
        ({"extra": {"ca_file": 7}}, "ca_file must be text"),
        ({"extra": {"ca_file": "/ca.pem", "skip_tls_verification": True}}, "choose one"),
    ],
)
def test_wrong_fields_are_named_with_the_connection(fields, names):
    with pytest.raises(DeepchecksConfigError, match=names) as caught:
        read(**fields)
    assert "'dc'" in str(caught.value)
    assert "CaNaRy" not in str(caught.value)


@pytest.mark.parametrize("extra", ["[1]", "no json", '"text"'])
def test_extra_that_is_no_object(extra):
    class Stored:
        """A connection as a database may hold it, past the checks of Airflow's constructor."""

        conn_id, host, port, schema, password = "dc", "dc.example.com", None, None, TOKEN

    Stored.extra = extra
    with pytest.raises(DeepchecksConfigError, match="extra is not a JSON object"):
        read_connection(Stored())


@pytest.mark.parametrize("true", [True, "true", "True", "yes", "1", 1, " on "])
@pytest.mark.parametrize("false", [False, "false", "FALSE", "no", "0", 0, "off", "", None])
def test_booleans_of_any_form(true, false):
    assert read(extra={"skip_tls_verification": true}).client.verify is False
    assert read(extra={"skip_tls_verification": false}).client.verify is True


def test_numbers_and_paths_as_text():
    settings = read(
        extra={"timeout": "7", "retries": " 0 ", "samples_per_send": "500", "ca_file": " /etc/ca.pem "}
    )
    assert (settings.client.timeout, settings.client.retries, settings.samples_per_send) == (7.0, 0, 500)
    assert settings.client.verify == "/etc/ca.pem"


def test_unknown_extra_is_told_without_its_value(caplog):
    with caplog.at_level(logging.WARNING):
        read(extra={"skip_tls_verificaton": "CaNaRy"})
    assert "'skip_tls_verificaton'" in caplog.text
    assert "skip_tls_verification," in caplog.text
    assert "CaNaRy" not in caplog.text


@pytest.mark.parametrize(
    ("text", "base_url", "verify", "retries"),
    [
        (
            f"deepchecks://:{TOKEN}@dc.example.com:8443/?skip_tls_verification=true&retries=2",
            "https://dc.example.com:8443",
            False,
            2,
        ),
        (
            f"deepchecks://:{TOKEN}@dc.example.com/https?skip_tls_verification=false",
            "https://dc.example.com",
            True,
            5,
        ),
        (f"deepchecks://:{TOKEN}@http%3A%2F%2F127.0.0.1:8000", "http://127.0.0.1:8000", True, 5),
        (
            json.dumps(
                {
                    "conn_type": "deepchecks",
                    "host": "https://dc.example.com/x/",
                    "password": TOKEN,
                    "extra": {"retries": "1", "ca_file": "/ca.pem"},
                }
            ),
            "https://dc.example.com/x",
            "/ca.pem",
            1,
        ),
    ],
)
def test_connection_from_the_environment(monkeypatch, text, base_url, verify, retries):
    monkeypatch.setenv("AIRFLOW_CONN_DC_TEST", text)
    client = read_connection(BaseHook.get_connection("dc_test")).client
    assert (client.base_url, client.verify, client.retries) == (base_url, verify, retries)
    assert client.token == TOKEN


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1", True),
        ("http://LOCALHOST.", True),
        ("http://x.localhost", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:2", True),
        ("http://0.0.0.0", False),
        ("http://10.0.0.1", False),
        ("http://localhost.com", False),
        ("nonsense", False),
    ],
)
def test_loopback(url, expected):
    assert is_loopback(url) is expected


# -- the forms ---------------------------------------------------------------------------------------------


def test_both_forms_hold_the_same_fields():
    pytest.importorskip("flask_appbuilder", reason="widgets exist where Airflow has its old forms")
    widgets = connection.form_widgets()
    assert list(widgets) == list(connection.conn_fields()) == [field.name for field in FIELDS]
    for field in FIELDS:
        kind = widgets[field.name].field_class.__name__
        assert (
            kind
            == {"boolean": "BooleanField", "integer": "IntegerField", "string": "StringField"}[field.kind]
        )
        assert widgets[field.name].kwargs["default"] == field.default


def test_every_checkbox_is_off_by_default():
    assert [field.default for field in FIELDS if field.kind == "boolean"] == [False, False]


def test_fields_are_what_the_settings_read():
    form = connection.conn_fields()
    assert form["timeout"]["schema"] == {"type": ["integer", "null"], "default": 60, "minimum": 1}
    assert form["ca_file"]["schema"] == {"type": ["string", "null"]}
    extra = {name: field["schema"].get("default") for name, field in form.items()}
    assert read(extra=extra) == read()


def test_provider_info_fits_airflows_own_schemas():
    from pathlib import Path

    import airflow
    from jsonschema import validate

    info, schemas = get_provider_info(), Path(airflow.__file__).parent
    validate(info, json.loads((schemas / "provider_info.schema.json").read_text()))
    whole = json.loads((schemas / "provider.yaml.schema.json").read_text())
    validate(info["connection-types"], whole["properties"]["connection-types"])


def test_provider_info_names_what_exists():
    from importlib import import_module

    info = get_provider_info()
    assert info["package-name"] == "airflow-provider-deepchecks"
    modules = [
        m for kind in ("hooks", "operators", "sensors", "triggers") for m in info[kind][0]["python-modules"]
    ]
    assert all(import_module(name) for name in modules)
    classes = [*info["extra-links"], info["connection-types"][0]["hook-class-name"]]
    for name in classes:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute)
