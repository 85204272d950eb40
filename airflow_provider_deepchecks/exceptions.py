# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What can go wrong, as one tree.

``except DeepchecksError`` catches everything this package raises on purpose.
:attr:`DeepchecksError.retryable` says whether the same call can succeed later without anybody changing a
setting or the data: operators and sensors fail for good when it is false, and leave the rest to Airflow's
retries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class DeepchecksError(Exception):
    """Base of all errors of this package."""

    #: Whether trying again later, with nothing changed by the user, can help.
    retryable: bool = False

    def __reduce__(self) -> tuple[Callable[..., DeepchecksError], tuple[Any, ...]]:
        # Executors pickle errors; the default calls the class with the message only and fails on keyword
        # arguments.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    cls: type[DeepchecksError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> DeepchecksError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


# -- settings and names --------------------------------------------------------------------------------------


class DeepchecksConfigError(DeepchecksError, ValueError):
    """A setting of the connection, operator, sensor or call is wrong; the message names it and a way out."""


class DeepchecksMissingConnectionError(DeepchecksConfigError):
    """Airflow has no such connection, or did not reach what keeps it: it says the same of both.

    :param setting: argument that names the connection.
    :param conn_id: id of the connection.
    """

    retryable = True

    def __init__(self, setting: str, conn_id: str) -> None:
        super().__init__(
            f"{setting}={conn_id!r}: Airflow has no such connection, or its secrets backend did not answer. "
            f"Add it (Admin > Connections, or AIRFLOW_CONN_{conn_id.upper()}), or name another."
        )


class DeepchecksNotFoundError(DeepchecksError, LookupError):
    """No such model, version or API path."""


# -- the server ----------------------------------------------------------------------------------------------


class DeepchecksServerError(DeepchecksError):
    """The server, or a proxy before it, answered something that is not an answer to the request.

    :param status: HTTP status code, or None when there was no readable answer.
    :param retry_after: seconds after which the answer asks to try again (``Retry-After``), None when it does
        not.
    """

    retryable = True

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class DeepchecksAuthError(DeepchecksError):
    """The API token is missing, wrong, expired, or may not do this (HTTP 401, 403, a redirect to a login)."""


class DeepchecksConnectionError(DeepchecksServerError):
    """No connection: refused, reset, DNS, TLS.

    :param maybe_received: False when the request surely did not reach the server.
    """

    def __init__(self, message: str, *, maybe_received: bool) -> None:
        super().__init__(message)
        self.maybe_received = maybe_received


class DeepchecksTLSError(DeepchecksConnectionError):
    """The server's certificate could not be verified."""

    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message, maybe_received=False)


class DeepchecksTimeoutError(DeepchecksConnectionError):
    """No answer in time. The server may still be at work on the request (measured: it goes on and stores)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, maybe_received=True)


class DeepchecksRequestError(DeepchecksError):
    """The server refused the request as a whole (HTTP 400, 402, 405, 422).

    :param status: HTTP status code.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class DeepchecksAnswerTooLargeError(DeepchecksServerError):
    """The answer is too large to be read. One about fewer rows can be read."""


class DeepchecksPayloadTooLargeError(DeepchecksServerError):
    """A proxy refused the size of the body: HTTP 413 without ``num_saved``. Smaller chunks can pass."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=413)


class DeepchecksRateLimitError(DeepchecksServerError):
    """The organisation's rows of this minute are used up: HTTP 413 with ``num_saved``.

    :param num_saved: rows at the head of the request that were received all the same.
    """

    def __init__(self, message: str, *, num_saved: int) -> None:
        super().__init__(message, status=413)
        self.num_saved = num_saved


# -- rows ----------------------------------------------------------------------------------------------------


class DeepchecksSourceError(DeepchecksError):
    """The rows cannot be read: a query that fails, an unreadable file, a type that holds no rows."""

    retryable = True


class DeepchecksUnusableSourceError(DeepchecksSourceError):
    """What is given as the source can never be one: data of an unknown kind, two statements, no format."""

    retryable = False


class DeepchecksColumnsError(DeepchecksError):
    """The source's columns do not fit the version's schema: missing, unknown or named twice."""


class DeepchecksInvalidRowsError(DeepchecksError):
    """Rows that the server would refuse or lose were found before sending.

    :param reasons: rows per reason.
    """

    def __init__(self, message: str, *, reasons: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.reasons = dict(reasons or {})


class DeepchecksLateRowsError(DeepchecksInvalidRowsError):
    """Rows older than the newest sample of the version (its watermark)."""


class DeepchecksRefusedRowsError(DeepchecksError):
    """The server answered 200 and refused rows afterwards.

    :param sample_ids: ids of the first refused rows.
    """

    def __init__(self, message: str, *, sample_ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.sample_ids = list(sample_ids)


class DeepchecksLostRowsError(DeepchecksError):
    """Nothing is pending, and rows the server answered 200 to are neither stored nor listed as refused.

    Sending them again is safe (the first write wins), so a retry may mend it.
    """

    retryable = True


class DeepchecksWriteBackError(DeepchecksError):
    """The rows were sent, and what is told of them, their ids or their status, could not be written.

    A retry sends nothing twice that can be seen to be in, and writes it again.
    """

    retryable = True


class DeepchecksStalledError(DeepchecksError):
    """Pending rows have not moved for a set time."""

    retryable = True
