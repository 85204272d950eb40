# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What an HTTP answer means. Pure: from status, headers and body to one of the package's errors, or none."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from airflow_provider_deepchecks.exceptions import (
    DeepchecksAuthError,
    DeepchecksConnectionError,
    DeepchecksError,
    DeepchecksNotFoundError,
    DeepchecksPayloadTooLargeError,
    DeepchecksRateLimitError,
    DeepchecksRequestError,
    DeepchecksServerError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What the body of a good answer must be: JSON, nothing (or JSON that nobody needs), or plain text.
Expected = Literal["json", "nothing", "text"]

#: Longest piece of an answer that an error message repeats, in characters.
_SHOWN = 300


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, read to its end.

    :param status: HTTP status code.
    :param headers: names in lower case.
    :param body: decoded (not compressed) bytes.
    :param seconds: time from the first byte out to the last byte in.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def server_time(self) -> datetime | None:
        """The ``Date`` header, UTC; None when a proxy dropped or broke it."""
        return _http_date(self.headers.get("date"))

    def json(self) -> Any:
        """The body as JSON.

        :raises ValueError: the body is no JSON.
        """
        return json.loads(self.body)


def failure(answer: Answer, *, call: str, expected: Expected, detail: str) -> DeepchecksError | None:
    """Judge an answer.

    :param call: what was asked of whom, the subject of the message.
    :param expected: what the body of a good answer must be.
    :param detail: :func:`reason` of the answer, free of secrets.
    :return: the error it amounts to, None when it is good.
    """
    status = answer.status
    if 200 <= status < 300:
        return _unreadable(answer, call, expected, detail)
    if 300 <= status < 400:
        return _redirect(answer, call)
    message = f"{call} answered HTTP {status}: {detail}"
    if status in (401, 403):
        return DeepchecksAuthError(
            f"{message}. The API token is wrong, expired, or may not do this: check the connection's "
            "password."
        )
    if status == 407:
        return DeepchecksAuthError(f"{message}. The HTTP proxy between wants its own credentials.")
    if status == 413:
        saved = _number_saved(answer)
        if saved is not None:
            return DeepchecksRateLimitError(message, num_saved=saved)
        return DeepchecksPayloadTooLargeError(
            f"{message}. A proxy before the server refuses bodies of this size: send fewer rows at once."
        )
    if status >= 500 or status in (408, 425, 429):
        return DeepchecksServerError(message, status=status, retry_after=_retry_after(answer))
    if _error_fields(answer) is None:
        # Deepchecks explains its 4xx in JSON; this one comes from something else, which may be gone in a
        # minute.
        return DeepchecksServerError(
            f"{message}. This is no answer of Deepchecks: check the connection's host and path prefix, "
            "and what stands between.",
            status=status,
        )
    if status == 404:
        return DeepchecksNotFoundError(
            f"{message}. Either it was deleted, or the connection's host has a wrong path prefix."
        )
    return DeepchecksRequestError(message, status=status)


def reason(answer: Answer) -> str:
    """The answer's own words about what is wrong, short and on one line. May hold what the request held."""
    fields = _error_fields(answer)
    if fields is not None:
        text = str(fields.get("error_message") or fields.get("detail") or fields)
    elif _is_html(answer):
        title = re.search(rb"<title[^>]*>(.*?)</title>", answer.body[:20_000], re.I | re.S)
        shown = " ".join(title.group(1).decode("utf-8", "replace").split()) if title else ""
        text = f"an HTML page{f' titled {shown!r}' if shown else ''}"
    else:
        text = answer.body[: 4 * _SHOWN].decode("utf-8", "replace") or "no text"
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _unreadable(answer: Answer, call: str, expected: Expected, detail: str) -> DeepchecksError | None:
    if expected == "text" and not _is_html(answer):
        return None
    if expected == "nothing" and not answer.body.strip():
        return None
    if not _is_html(answer) and expected != "text":
        try:
            answer.json()
        except ValueError:
            if "json" in answer.headers.get("content-type", "") or not answer.body:
                # Deepchecks writes good JSON, so this one was cut on its way.
                return DeepchecksConnectionError(
                    f"{call} answered HTTP {answer.status} with JSON that breaks off after "
                    f"{len(answer.body)} bytes.",
                    maybe_received=True,
                )
        else:
            return None
    return DeepchecksServerError(
        f"{call} answered HTTP {answer.status} with {detail} instead of JSON. A login page or a proxy "
        "answers in place of Deepchecks: check the connection's host and path prefix.",
        status=answer.status,
    )


def _redirect(answer: Answer, call: str) -> DeepchecksAuthError:
    # The query may hold a session or the address that was asked for: only the host is shown.
    location = answer.headers.get("location", "")
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    where = f"to {host}" if host else "within the same host"
    to_https = location.startswith("https://") and "http://" in call
    hint = " Use https:// in the connection's host." if to_https else ""
    return DeepchecksAuthError(
        f"{call} answered with a redirect (HTTP {answer.status}) {where}; it is not followed, since the API "
        f"token goes to no other address. A login page or a proxy stands before Deepchecks.{hint}"
    )


def _error_fields(answer: Answer) -> dict[str, Any] | None:
    if _is_html(answer):
        return None
    try:
        fields = answer.json()
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _number_saved(answer: Answer) -> int | None:
    fields = _error_fields(answer) or {}
    information = fields.get("additional_information")
    saved = information.get("num_saved") if isinstance(information, dict) else None
    return saved if isinstance(saved, int) and not isinstance(saved, bool) and saved >= 0 else None


def _is_html(answer: Answer) -> bool:
    kind = answer.headers.get("content-type", "").lower()
    return "html" in kind or answer.body[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _retry_after(answer: Answer) -> float | None:
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    moment = _http_date(value)
    if moment is None:
        return None
    now = answer.server_time or datetime.now(UTC)
    return max(0.0, (moment - now).total_seconds())


def _http_date(value: str | None) -> datetime | None:
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
