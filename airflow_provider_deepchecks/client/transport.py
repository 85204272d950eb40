# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""HTTP: the one module that imports the HTTP library.

One call function, one retry rule. Reading calls are repeated; sending calls go out once, since only the
caller knows what a repetition would do.
"""

from __future__ import annotations

import io
import logging
import math
import random
import re
import ssl
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection

from airflow_provider_deepchecks.client.answers import Answer, Expected, failure, reason
from airflow_provider_deepchecks.client.clock import ServerClock
from airflow_provider_deepchecks.client.settings import ClientSettings, check_ca_file, is_loopback
from airflow_provider_deepchecks.client.token import Redactor, check_token
from airflow_provider_deepchecks.exceptions import (
    DeepchecksAnswerTooLargeError,
    DeepchecksAuthError,
    DeepchecksConfigError,
    DeepchecksConnectionError,
    DeepchecksServerError,
    DeepchecksTimeoutError,
    DeepchecksTLSError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

API = "/api/v1"

#: The server closes a connection that is idle for 5 s (measured on server 0.19.3). A request that meets the
#: closing fails without telling whether it was received, so connections are dropped before.
IDLE_SECONDS = 4.0
#: An answer larger than this is not read; the largest good one holds 100,000 sampled rows.
MAX_ANSWER_BYTES = 256 * 1024 * 1024
#: Longest wait between two tries of a reading call, seconds; also the most that Retry-After is obeyed for.
MAX_WAIT_SECONDS = 60.0
#: Connections kept open at once: a sender, its labels, and the polls beside them.
POOL_SIZE = 8
#: A body goes out in blocks of so many bytes. The library's 16 KiB cost a sender a tenth of its time: each
#: block is a turn for the thread that makes the next body.
BLOCK_BYTES = 256 * 1024

_RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})


class Transport:
    """Calls to one server, with its token.

    :param settings: where to call, and the bounds.
    :param session: HTTP session to use in place of an own one.
    :param sleep: waits between tries, seconds.
    :raises DeepchecksConfigError: the token cannot be sent in a header, or the CA file cannot be used.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        session: requests.Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        check_token(settings.token)
        if isinstance(settings.verify, str):
            check_ca_file(settings.verify)
        self.settings = settings
        self.clock = ServerClock()
        self._sleep = sleep
        self._session = session or _new_session(settings)
        self._auth = _Token(settings.token)
        self._clean = Redactor(settings.token)
        # A token for this very machine must not travel to a proxy on another one.
        self._proxies: dict[str, Any] = (
            {"http": None, "https": None, "all": None} if is_loopback(settings.base_url) else {}
        )

    def close(self) -> None:
        """Close the open connections; the next call opens new ones."""
        self._session.close()

    def read(
        self,
        path: str,
        *,
        method: str = "GET",
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        expected: Expected = "json",
        token: bool = True,
    ) -> Answer:
        """Call something that changes nothing, and try again where that can help.

        :raises DeepchecksError: see :meth:`send`; after ``settings.retries`` more tries.
        """
        tried = 0
        while True:
            try:
                return self.send(method, path, params=params, body=body, expected=expected, token=token)
            except DeepchecksServerError as error:
                if tried >= self.settings.retries or not _may_pass(error):
                    raise
                wait = _wait_seconds(tried, error.retry_after)
                log.info(
                    "%s Trying again in %.1f s (%d of %d).", error, wait, tried + 1, self.settings.retries
                )
            self._sleep(wait)
            tried += 1

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        expected: Expected = "nothing",
        token: bool = True,
    ) -> Answer:
        """Call once.

        :param path: below ``/api/v1``.
        :param body: JSON.
        :param files: fields of a multipart form: file name, content, content type.
        :param expected: what the body of a good answer must be.
        :param token: send the API token.
        :raises DeepchecksAuthError: HTTP 401, 403, or a redirect (never followed).
        :raises DeepchecksConnectionError: no connection, no TLS, no answer in time, or one that breaks off.
        :raises DeepchecksServerError: HTTP 5xx, 429, or an answer that is none of Deepchecks (HTML, no JSON).
        :raises DeepchecksRateLimitError: HTTP 413 with the rows that were received.
        :raises DeepchecksPayloadTooLargeError: HTTP 413 of a proxy.
        :raises DeepchecksNotFoundError: HTTP 404.
        :raises DeepchecksRequestError: another HTTP 4xx.
        """
        call = f"{method} {self.settings.base_url}{API}{path}"
        answer = self._exchange(call, method, path, params, body, files, token)
        if answer.server_time is not None:
            self.clock.read(answer.server_time)
        error = failure(answer, call=call, expected=expected, detail=self._clean(reason(answer)))
        if error is not None:
            raise error
        return answer

    def _exchange(
        self,
        call: str,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: bytes | None,
        files: Mapping[str, tuple[str, bytes, str]] | None,
        token: bool,
    ) -> Answer:
        started = time.monotonic()
        try:
            with self._session.request(
                method,
                f"{self.settings.base_url}{API}{path}",
                params=params,
                # A file goes out in blocks, each with the whole time-out; bytes would share one for all of
                # them.
                data=None if body is None else io.BytesIO(body),
                files=files,
                headers={"Content-Type": "application/json"} if body is not None else None,
                auth=self._auth if token else _no_auth,
                timeout=(self.settings.timeout, self.settings.timeout),
                verify=self.settings.verify,
                proxies=dict(self._proxies),
                allow_redirects=False,
                stream=True,
            ) as response:
                content = self._read_body(response, call)
                return Answer(
                    status=response.status_code,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=content,
                    seconds=time.monotonic() - started,
                )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            seconds = time.monotonic() - started
            raise self._no_answer(error, call, seconds) from error

    def _read_body(self, response: requests.Response, call: str) -> bytes:
        """Read the body within bounds: a server that drips bytes would otherwise hold the task for hours."""
        content = bytearray()
        deadline = time.monotonic() + self.settings.timeout
        while piece := response.raw.read1(256 * 1024, decode_content=True):
            content += piece
            if len(content) > MAX_ANSWER_BYTES:
                raise DeepchecksAnswerTooLargeError(
                    f"{call} answered more than {MAX_ANSWER_BYTES:,} bytes; reading stopped.",
                    status=response.status_code,
                )
            if time.monotonic() > deadline:
                raise DeepchecksTimeoutError(
                    f"{call} was still answering after {self.settings.timeout:g} s "
                    f"({len(content):,} bytes so far)."
                )
        return bytes(content)

    def _no_answer(self, error: Exception, call: str, seconds: float) -> Exception:
        """What the HTTP library's exception amounts to."""
        causes = list(_causes(error))
        what = self._clean(_innermost_words(causes))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return DeepchecksTLSError(
                    f"{call}: the server's certificate could not be verified ({what}). Give the CA file in "
                    "the connection, or switch TLS verification off there if you know why."
                )
            if isinstance(cause, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(cause):
                return DeepchecksTLSError(
                    f"{call}: the server does not speak TLS ({what}). Use http:// in the connection's host."
                )
        if any(isinstance(cause, _NO_ADDRESS) for cause in causes):
            return DeepchecksConfigError(
                f"{call}: {what}. Check the connection's host and the proxy variables."
            )
        if any("Tunnel connection failed: 407" in str(cause) for cause in causes):
            return DeepchecksAuthError(f"{call}: the HTTP proxy between wants its own credentials ({what}).")
        if _was_never_sent(causes):
            return DeepchecksConnectionError(
                f"{call}: no connection after {seconds:.1f} s ({what}). Check the connection's host and "
                "port, and that the server runs.",
                maybe_received=False,
            )
        if any(isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError) for cause in causes):
            return DeepchecksTimeoutError(
                f"{call}: no answer within {self.settings.timeout:g} s. The server may still be working on "
                "it."
            )
        return DeepchecksConnectionError(
            f"{call}: the connection broke after {seconds:.1f} s ({what}).", maybe_received=True
        )


# -- the session ---------------------------------------------------------------------------------------------


class _Token(AuthBase):
    """The API token as Deepchecks wants it: literal, after the word Basic (measured on server 0.19.3).

    Given as an auth object, which also keeps ``.netrc`` from putting its own credentials in place of the
    token.
    """

    def __init__(self, token: str) -> None:
        self._header = f"Basic {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class _Connection(HTTPConnection):
    """A connection that is not used again when the server closes it, whose connect time-out is only that.

    The server closes it after :data:`IDLE_SECONDS`, and after HTTP 500 without saying so (measured on server
    0.19.3): the next request would meet the closing, and nothing would tell whether it was received.

    The library lets the connect time-out rule the sending of the body too; a busy server can need longer.
    """

    connect_seconds: float
    _answered_at = 0.0

    def connect(self) -> None:
        whole = self.timeout
        self.timeout = min(whole, self.connect_seconds) if whole else self.connect_seconds
        try:
            super().connect()
        finally:
            self.timeout = whole
        if self.sock is not None:
            self.sock.settimeout(whole)

    def getresponse(self) -> Any:
        response = super().getresponse()
        self._answered_at = time.monotonic() if response.status < 500 else -math.inf
        return response

    @property
    def is_connected(self) -> bool:
        return super().is_connected and time.monotonic() - self._answered_at < IDLE_SECONDS


def _connection_classes(connect_seconds: float) -> dict[str, type[HTTPConnection]]:
    bounds = {"connect_seconds": connect_seconds}
    return {
        "http": type("DeepchecksConnection", (_Connection,), bounds),
        "https": type("DeepchecksTLSConnection", (_Connection, HTTPSConnection), bounds),
    }


class _Adapter(HTTPAdapter):
    """A bounded pool of such connections. It never retries and never follows."""

    def __init__(self, connect_seconds: float) -> None:
        connections = _connection_classes(connect_seconds)
        self._pools = {
            "http": type("Pool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": connections["http"]}),
            "https": type("TLSPool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": connections["https"]}),
        }
        super().__init__(pool_connections=POOL_SIZE, pool_maxsize=POOL_SIZE, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, blocksize=BLOCK_BYTES, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


class _Session(requests.Session):
    """A session that sees no redirects: the library would look into them even if told not to follow."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _new_session(settings: ClientSettings) -> requests.Session:
    session = _Session()
    adapter = _Adapter(settings.connect_timeout)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.headers["User-Agent"] = user_agent()
    session.headers["Accept"] = "application/json"
    return session


def user_agent() -> str:
    """``airflow-provider-deepchecks/<version>``."""
    try:
        return f"airflow-provider-deepchecks/{version('airflow-provider-deepchecks')}"
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "airflow-provider-deepchecks"


# -- rules ---------------------------------------------------------------------------------------------------


def _may_pass(error: DeepchecksServerError) -> bool:
    if isinstance(error, DeepchecksConnectionError):
        return error.retryable
    return error.status in _RETRIED_STATUS


def _wait_seconds(tried: int, retry_after: float | None) -> float:
    if retry_after is not None:
        return min(retry_after, MAX_WAIT_SECONDS) + random.uniform(0.0, 0.5)
    # Jitter, so that a thousand sensors do not come back in the same instant.
    return min(0.5 * 2.0**tried, MAX_WAIT_SECONDS) * random.uniform(0.5, 1.0)


#: The HTTP library's errors about addresses of servers and proxies.
_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidProxyURL,
    urllib3.exceptions.LocationValueError,
)

#: The HTTP library's errors that are raised before the first byte of a request is out. Not its ProxyError: a
#: connection through a proxy that breaks later is wrapped in one as well.
_NEVER_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NameResolutionError,
)


def _was_never_sent(causes: list[BaseException]) -> bool:
    return any(isinstance(cause, _NEVER_SENT) or "Tunnel connection failed" in str(cause) for cause in causes)


def _causes(error: BaseException) -> list[BaseException]:
    """The error, and all it was made of: requests wraps urllib3's errors in arguments, reasons and causes."""
    found: list[BaseException] = []
    todo: list[Any] = [error]
    while todo:
        item = todo.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            todo += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found


def _innermost_words(causes: list[BaseException]) -> str:
    """The plainest words of a chain of errors: the operating system's or TLS's, without object addresses."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return " ".join(str(cause).split()) or type(cause).__name__
    text = re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?", "", str(causes[-1]))
    return " ".join(text.split())[:300] or type(causes[-1]).__name__
