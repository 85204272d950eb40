# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The Airflow connection ``deepchecks``: its fields, once, for both forms and the typed settings."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from airflow_provider_deepchecks.client.settings import ClientSettings, is_loopback
from airflow_provider_deepchecks.client.token import check_token
from airflow_provider_deepchecks.exceptions import DeepchecksConfigError
from airflow_provider_deepchecks.moments import MOST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Connection

log = logging.getLogger(__name__)

CONN_TYPE = "deepchecks"
HOOK_NAME = "Deepchecks Monitoring"


@dataclass(frozen=True)
class Field:
    """One field that the form adds to host, port and password. It is stored in the connection's extra.

    Every checkbox is off by default and its off is the safe side: the form of Airflow 2.11 cannot tell "off"
    from "never set" when a connection is edited.

    :param minimum: least allowed number.
    """

    name: str
    label: str
    kind: Literal["boolean", "integer", "string"]
    default: bool | int | str | None
    description: str
    minimum: int | None = None


FIELDS = (
    Field(
        "ca_file",
        "CA file",
        "string",
        None,
        "Path on the workers of a PEM file with the CA that signed the server's certificate.",
    ),
    Field(
        "skip_tls_verification",
        "Skip TLS verification",
        "boolean",
        False,
        "Accept any certificate. Whoever stands between can then read the API token.",
    ),
    Field(
        "allow_plain_http",
        "Allow plain http",
        "boolean",
        False,
        "Send the API token unencrypted to a host that is not this machine.",
    ),
    Field("timeout", "Request timeout", "integer", 60, "Seconds to wait for an answer.", minimum=1),
    Field(
        "retries",
        "Retries",
        "integer",
        5,
        "How often a reading request is tried again. Rows are sent again by other rules.",
        minimum=0,
    ),
    Field(
        "samples_per_send",
        "Samples per request",
        "integer",
        10_000,
        "Most rows in one request; requests are also bounded in bytes.",
        minimum=1,
    ),
)

HIDDEN = ("schema", "login", "extra")
RELABELING = {"password": "API token"}
PLACEHOLDERS = {
    "host": "https://deepchecks.example.com",
    "password": "the token, as Deepchecks shows it once",
    "port": "only if the host does not say it",
}


# -- the forms -----------------------------------------------------------------------------------------------


def conn_fields() -> dict[str, dict[str, Any]]:
    """The fields as ``conn-fields`` of the provider info, which Airflow 3.2 and later read."""
    rendered = {}
    for field in FIELDS:
        schema: dict[str, Any] = {"type": [field.kind, "null"]}
        if field.default is not None:
            schema["default"] = field.default
        if field.minimum is not None:
            schema["minimum"] = field.minimum
        rendered[field.name] = {"label": field.label, "description": field.description, "schema": schema}
    return rendered


def form_widgets() -> dict[str, Any]:
    """The fields as widgets of the hook, which Airflow before 3.2 reads."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, IntegerField, StringField
    from wtforms.validators import NumberRange, Optional

    widgets: dict[str, Any] = {}
    for field in FIELDS:
        texts = {"label": lazy_gettext(field.label), "description": field.description}
        if field.kind == "boolean":
            widgets[field.name] = BooleanField(**texts, default=field.default)
            continue
        validators = [Optional()]
        if field.minimum is not None:
            validators.append(NumberRange(min=field.minimum))
        kind = IntegerField if field.kind == "integer" else StringField
        widgets[field.name] = kind(
            **texts, default=field.default, validators=validators, widget=BS3TextFieldWidget()
        )
    return widgets


def ui_field_behaviour() -> dict[str, Any]:
    """What the form hides, renames and hints at."""
    return {
        "hidden_fields": list(HIDDEN),
        "relabeling": dict(RELABELING),
        "placeholders": dict(PLACEHOLDERS),
    }


# -- the settings --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConnectionSettings:
    """What a connection says, typed and checked.

    :param client: where to call, and how.
    :param samples_per_send: most rows in one request.
    """

    client: ClientSettings
    samples_per_send: int


def read_connection(connection: Connection) -> ConnectionSettings:
    """Check an Airflow connection, wherever it comes from: the form, a URI, JSON, a secrets backend.

    Values of the extra may be text, as a URI gives them.

    :raises DeepchecksConfigError: names the connection and the field that is wrong, and never shows the
        token.
    """
    conn_id = connection.conn_id
    fields = _Values(conn_id, _extra(connection))
    base_url = _base_url(connection)
    try:
        check_token(connection.password or "")
    except DeepchecksConfigError as error:
        raise DeepchecksConfigError(f"Connection {conn_id!r}: {error}") from None
    if (
        base_url.startswith("http://")
        and not is_loopback(base_url)
        and not fields.boolean("allow_plain_http")
    ):
        raise _wrong(
            conn_id,
            "host",
            f"is plain http ({base_url}), which would send the API token unencrypted: use https, or set "
            "allow_plain_http if the network is trusted",
        )
    ca_file = fields.text("ca_file")
    skip = fields.boolean("skip_tls_verification")
    if ca_file and skip:
        raise _wrong(conn_id, "ca_file", "is set together with skip_tls_verification: choose one")
    timeout = float(fields.integer("timeout"))
    if timeout > MOST_SECONDS:
        raise _wrong(conn_id, "timeout", f"must be at most {MOST_SECONDS:,.0f} seconds")
    client = ClientSettings(
        base_url=base_url,
        token=connection.password or "",
        verify=ca_file or not skip,
        timeout=timeout,
        retries=fields.integer("retries"),
    )
    return ConnectionSettings(client=client, samples_per_send=fields.integer("samples_per_send"))


def _wrong(conn_id: str | None, field: str, what: str) -> DeepchecksConfigError:
    return DeepchecksConfigError(f"Connection {conn_id!r}: {field} {what}.")


def _extra(connection: Connection) -> dict[str, Any]:
    text = connection.extra
    if not text:
        return {}
    try:
        extra = json.loads(text)
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise _wrong(connection.conn_id, "extra", "is not a JSON object")
    unknown = sorted(set(extra) - {field.name for field in FIELDS})
    if unknown:
        log.warning(
            "Connection %r: extra has no field %s; it knows %s.",
            connection.conn_id,
            ", ".join(map(repr, unknown)),
            ", ".join(field.name for field in FIELDS),
        )
    return extra


def _base_url(connection: Connection) -> str:
    """Scheme, host, port and path prefix. Without a scheme: https, and http for this machine."""
    conn_id, schema = connection.conn_id, (connection.schema or "").strip().lower()
    host = (connection.host or "").strip()
    if not host:
        raise _wrong(conn_id, "host", "is empty: put the address of the Deepchecks server there")
    if schema not in ("", "http", "https"):
        raise _wrong(conn_id, "schema", "is neither http nor https; a path prefix goes into the host")
    if "://" in host and schema and not host.lower().startswith(f"{schema}://"):
        raise _wrong(conn_id, "schema", f"says {schema}, the host says otherwise: leave the schema empty")
    try:
        if "://" not in host:
            host = f"{schema or ('http' if is_loopback(f'//{host}') else 'https')}://{host}"
        url = urlsplit(host)
        name, port = url.hostname, url.port
    except ValueError as error:
        raise _wrong(conn_id, "host", f"is no address ({error})") from None
    if url.scheme not in ("http", "https") or not name or re.search(r"\s", host):
        raise _wrong(conn_id, "host", "is no http or https address")
    if url.username is not None or url.password is not None:
        raise _wrong(conn_id, "host", "holds a user or password: the API token goes into the password")
    if url.query or url.fragment:
        raise _wrong(conn_id, "host", "ends in ?... or #...: give the address only")
    if connection.port and port and connection.port != port:
        raise _wrong(conn_id, "port", f"is {connection.port}, the host says {port}: give one of them")
    port = port or connection.port
    name = f"[{name}]" if ":" in name else name
    path = url.path.rstrip("/").removesuffix("/api/v1").rstrip("/")
    return f"{url.scheme}://{name}{f':{port}' if port else ''}{path}"


@dataclass(frozen=True)
class _Values:
    """The extra's values by the table of fields."""

    conn_id: str | None
    extra: Mapping[str, Any]

    def _value(self, name: str) -> Any:
        value = self.extra.get(name)
        if isinstance(value, str):
            value = value.strip()
        if value is None or value == "":
            return next(field.default for field in FIELDS if field.name == name)
        return value

    def boolean(self, name: str) -> bool:
        value = self._value(name)
        text = str(value).lower()
        if isinstance(value, bool | int | str) and text in ("true", "1", "yes", "on"):
            return True
        if isinstance(value, bool | int | str) and text in ("false", "0", "no", "off"):
            return False
        raise _wrong(self.conn_id, name, "must be true or false")

    def integer(self, name: str) -> int:
        value = self._value(name)
        least = next(field.minimum for field in FIELDS if field.name == name)
        try:
            number = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None or (least is not None and number < least):
            raise _wrong(self.conn_id, name, f"must be a whole number of at least {least}")
        return number

    def text(self, name: str) -> str | None:
        value = self._value(name)
        if value is not None and not isinstance(value, str):
            raise _wrong(self.conn_id, name, "must be text")
        return value
