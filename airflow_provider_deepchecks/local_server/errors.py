# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""How the server says no.

Three shapes exist (measured on server 0.19.3): ``{"error_message", "additional_information"}`` for the
server's own errors, ``{"detail"}`` for those of its web framework, and the plain text ``Internal Server
Error`` with the connection closed afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import HTTPException

if TYPE_CHECKING:
    from collections.abc import Mapping


class ApiError(Exception):
    """An error of the server's own: a status code, a message and what else there is to know.

    :param status: HTTP status code.
    :param message: becomes ``error_message``.
    :param information: becomes ``additional_information``.
    """

    def __init__(self, status: int, message: str, information: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.information = dict(information or {})

    def body(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        return {"error_message": self.message, "additional_information": self.information}


class ServerFault(Exception):
    """The real server fails here by accident.

    HTTP 500 in plain text, nothing of the request stored, connection closed.
    """


def unauthorized(message: str = "expired or invalid access token") -> ApiError:
    """HTTP 401; the message depends on what is wrong with the token."""
    return ApiError(401, message)


def not_found(kind: str, **wanted: object) -> ApiError:
    """HTTP 404 for a model or a version."""
    arguments = "; ".join(f"{name}={value}" for name, value in wanted.items())
    return ApiError(404, f"'{kind}' with next set of arguments does not exist: {arguments}")


def identifier_not_found(identifier: int) -> ApiError:
    """HTTP 404 in the other wording, that of labels and reference uploads."""
    return ApiError(404, f"DeclarativeMeta with the identifier {identifier} was not found.")


def framework_error(status: int, detail: str) -> HTTPException:
    """An error of the web framework: ``{"detail": ...}``."""
    return HTTPException(status, detail)


def rate_limit_exceeded(what: str, limit: int, saved: int) -> ApiError:
    """HTTP 413: the first ``saved`` rows of the request were processed, the others were not looked at.

    :param what: ``rows`` or ``labels``.
    :param limit: rows a minute.
    """
    message = f"Rate limit exceeded, you can send {limit} {what} per minute"
    if saved:
        message += f". {saved} first {what} were received"
    return ApiError(413, message, {"num_saved": saved})
