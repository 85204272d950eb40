# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Reading requests as the server does: body, then token, then all else that can be wrong, in one 422.

The wording of the 422s is that of pydantic 1, which the server runs on.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from airflow_provider_deepchecks.local_server.clock import to_microseconds
from airflow_provider_deepchecks.local_server.errors import (
    ApiError,
    ServerFault,
    framework_error,
    unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_deepchecks.local_server.state import State

#: Body of a request that has none.
NO_BODY = object()


def check_token(header: str | None, token: str) -> None:
    """Compare an Authorization header with the API token.

    :raises ApiError: 401, in the words the server has for each way to be wrong.
    """
    scheme, _, given = (header or "").partition(" ")
    if scheme.lower() == "bearer":
        raise unauthorized("Could not validate credentials")
    if scheme.lower() != "basic":
        raise unauthorized()
    email, dot, _ = given.partition(".")
    if not dot:
        raise unauthorized("Received incorrect/old secret")
    try:
        base64.b64decode(email).decode()
    except ValueError:
        raise unauthorized("Received invalid secret - incorrect base64 email") from None
    if given != token:
        raise unauthorized("Received invalid secret")


async def read_body(request: Request) -> Any:
    """The JSON body; the raw bytes when it is not declared as JSON; :data:`NO_BODY` when there is none.

    :raises ApiError: when it is no JSON.
    :raises HTTPException: when it is no text, as a compressed body.
    """
    raw = await request.body()
    if not raw:
        return NO_BODY
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        return raw
    try:
        return json.loads(raw)
    except json.JSONDecodeError as error:
        problem = {
            "type": "json_invalid",
            "loc": ("body", error.pos),
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": error.msg},
        }
        raise invalid([problem]) from None
    except (ValueError, RecursionError):
        raise framework_error(400, "There was an error parsing the body") from None


def invalid(problems: list[dict[str, Any]]) -> ApiError:
    """HTTP 422."""
    return ApiError(422, str(problems), {"errors": problems})


class Call:
    """One request with a right token. Readers note what is wrong; :meth:`check` raises it all together.

    :param request: the request.
    :param body: what :func:`read_body` made of its body.
    """

    def __init__(self, request: Request, body: Any) -> None:
        self.request = request
        self.body = body
        self._problems: list[dict[str, Any]] = []

    @property
    def state(self) -> State:
        """What the server works with."""
        state: State = self.request.app.state.deepchecks
        return state

    def note(self, location: tuple[str | int, ...], message: str, kind: str, **context: Any) -> None:
        """Note a problem."""
        problem: dict[str, Any] = {"loc": location, "msg": message, "type": kind}
        self._problems.append(problem | ({"ctx": context} if context else {}))

    def check(self) -> None:
        """Raise what was noted.

        :raises ApiError: 422.
        """
        if self._problems:
            raise invalid(self._problems)

    # -- path and query -------------------------------------------------------------------------------------

    def path_int(self, name: str) -> int:
        """An id in the path."""
        return self._int(("path", name), self.request.path_params[name]) or 0

    def query_int(
        self, name: str, default: int | None = None, *, least: int | None = None, most: int | None = None
    ) -> int | None:
        """A number in the query."""
        if (text := self.request.query_params.get(name)) is None:
            return default
        number = self._int(("query", name), text)
        if number is not None and least is not None and number < least:
            message = f"ensure this value is greater than or equal to {least}"
            self.note(("query", name), message, "value_error.number.not_ge", limit_value=least)
        if number is not None and most is not None and number > most:
            message = f"ensure this value is less than or equal to {most}"
            self.note(("query", name), message, "value_error.number.not_le", limit_value=most)
        return number

    def query_choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of some words in the query; the first is the default."""
        value = self.request.query_params.get(name, choices[0])
        self._choice(("query", name), value, choices)
        return value

    def check_query_choices(self, name: str, choices: tuple[str, ...]) -> None:
        """Check words in the query, any number of them."""
        for position, value in enumerate(self.request.query_params.getlist(name)):
            self._choice(("query", name, position), value, choices)

    def check_query_ints(self, name: str) -> None:
        """Check numbers in the query, any number of them."""
        for position, text in enumerate(self.request.query_params.getlist(name)):
            self._int(("query", name, position), text)

    def check_query_time(self, name: str) -> None:
        """Check a time in the query: seconds since 1970 are one, a date alone is none."""
        text = self.request.query_params.get(name)
        if text is None or text.isdecimal():
            return
        try:
            datetime.fromisoformat(text)
            is_time = len(text) > len("2026-01-01")
        except ValueError:
            is_time = False
        if not is_time:
            self.note(("query", name), "invalid datetime format", "value_error.datetime")

    def query_bool(self, name: str) -> bool:
        """A flag in the query."""
        value = self.request.query_params.get(name, "false").lower()
        if value not in _TRUE | _FALSE:
            message = "value could not be parsed to a boolean"
            self.note(("query", name), message, "type_error.bool")
        return value in _TRUE

    def _choice(self, location: tuple[str | int, ...], value: str, choices: tuple[str, ...]) -> None:
        if value not in choices:
            permitted = ", ".join(map(repr, choices))
            message = f"value is not a valid enumeration member; permitted: {permitted}"
            self.note(location, message, "type_error.enum", enum_values=list(choices))

    def _int(self, location: tuple[str | int, ...], text: str) -> int | None:
        try:
            return int(text)
        except ValueError:
            self.note(location, "value is not a valid integer", "type_error.integer")
            return None

    # -- body -----------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """The body as a list of objects."""
        if self.body is NO_BODY:
            self.note(("body",), "field required", "value_error.missing")
            return []
        if not isinstance(self.body, list):
            self.note(("body",), "value is not a valid list", "type_error.list")
            return []
        for position, row in enumerate(self.body):
            if not isinstance(row, dict):
                self.note(("body", position), "value is not a valid dict", "type_error.dict")
        return self.body

    def fields(self) -> Fields:
        """The body as one object."""
        if self.body is NO_BODY:
            self.note(("body",), "field required", "value_error.missing")
        elif not isinstance(self.body, dict):
            self.note(("body",), "value is not a valid dict", "type_error.dict")
        else:
            return Fields(self, self.body)
        self.check()
        raise AssertionError("check() has raised")


class Fields:
    """The fields of a body that is one object. An optional field that is null counts as not given.

    :param call: where problems are noted.
    :param values: the object.
    """

    def __init__(self, call: Call, values: Mapping[str, Any]) -> None:
        self._call = call
        self._values = values

    def get(self, name: str, *, required: bool = False) -> Any:
        """A field as it came."""
        if required and name not in self._values:
            self._call.note(("body", name), "field required", "value_error.missing")
        value = self._values.get(name)
        if required and value is None and name in self._values:
            self._call.note(("body", name), "none is not an allowed value", "type_error.none.not_allowed")
        return value

    def text(self, name: str, *, required: bool = False, longest: int | None = None) -> str | None:
        """A text."""
        value = self.get(name, required=required)
        if isinstance(value, (dict, list)):
            self._call.note(("body", name), "str type expected", "type_error.str")
            return None
        if value is None:
            return None
        text = str(value)
        if longest is not None and len(text) > longest:
            message = f"ensure this value has at most {longest} characters"
            self._call.note(("body", name), message, "value_error.any_str.max_length", limit_value=longest)
        return text

    def number(self, name: str, *, required: bool = False) -> float:
        """A number."""
        value = self.get(name, required=required)
        try:
            return float(value or 0)
        except (TypeError, ValueError):
            self._call.note(("body", name), "value is not a valid float", "type_error.float")
            return 0.0

    def whole(self, name: str, *, required: bool = False, default: int = 0, most: int | None = None) -> int:
        """A whole number."""
        value = self.get(name, required=required)
        try:
            number = int(default if value is None else value)
        except (TypeError, ValueError):
            self._call.note(("body", name), "value is not a valid integer", "type_error.integer")
            return 0
        if most is not None and number > most:
            message = f"ensure this value is less than or equal to {most}"
            self._call.note(("body", name), message, "value_error.number.not_le", limit_value=most)
        return number

    def mapping(self, name: str, *, required: bool = False) -> dict[str, Any] | None:
        """An object."""
        value = self.get(name, required=required)
        if value is not None and not isinstance(value, dict):
            self._call.note(("body", name), "value is not a valid dict", "type_error.dict")
            return None
        return value

    def numbers(self, name: str) -> dict[str, float] | None:
        """An object whose values are numbers."""
        values = self.mapping(name)
        if values is None:
            return None
        numbers = {}
        for key, value in values.items():
            try:
                numbers[key] = float(value)
            except (TypeError, ValueError):
                self._call.note(("body", name, key), "value is not a valid float", "type_error.float")
        return numbers

    def list_of_texts(self, name: str) -> list[str] | None:
        """A list of texts."""
        value = self.get(name)
        if value is not None and not isinstance(value, list):
            self._call.note(("body", name), "value is not a valid list", "type_error.list")
            return None
        return None if value is None else [str(item) for item in value]

    def time(self, name: str, default: int) -> int:
        """A time, in microseconds since 1970; without an offset it is UTC.

        :raises ServerFault: when it is none.
        """
        text = self.text(name)
        if text is None:
            return default
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ServerFault(f"no time: {text}") from None
        return to_microseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


async def open_call(request: Request) -> Call:
    """Read the body, then look at the token: the order in which the server complains."""
    body = await read_body(request)
    check_token(request.headers.get("authorization"), request.app.state.deepchecks.options.token)
    return Call(request, body)


#: For the signature of a route.
Opened = Annotated[Call, Depends(open_call)]

_TRUE = {"true", "1", "on", "t", "y", "yes"}
_FALSE = {"false", "0", "off", "f", "n", "no"}
