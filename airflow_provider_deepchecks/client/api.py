# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Deepchecks Monitoring over HTTP, one method a call. Knows no Airflow and no Arrow.

Facts about the server are measured on version 0.19.3 where nothing else is said.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from airflow_provider_deepchecks.client import parse
from airflow_provider_deepchecks.client.names import find_model, find_version
from airflow_provider_deepchecks.client.types import (
    IngestionError,
    IngestionStatus,
    Model,
    ModelRef,
    ModelStatus,
    ModelVersion,
    SendResult,
    TaskType,
    VersionRef,
    VersionSchema,
    VersionStatus,
    WindowCounts,
)
from airflow_provider_deepchecks.exceptions import (
    DeepchecksAuthError,
    DeepchecksConfigError,
    DeepchecksNotFoundError,
    DeepchecksServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    import requests

    from airflow_provider_deepchecks.client.answers import Answer
    from airflow_provider_deepchecks.client.settings import ClientSettings

T = TypeVar("T")

#: Most ingestion errors that the server gives at once.
MAX_PAGE = 300
#: Errors read before that are known again, where new ones push them to a later page.
REMEMBERED_ERRORS = 100_000
#: Most rows that get-prod-data gives at once (the server's own description).
MAX_STORED_SAMPLES = 100_000
#: Most bytes of one reference upload.
MAX_REFERENCE_BYTES = 20_000_000


class DeepchecksClient:
    """One server, one token. Use as a context manager, or :meth:`close` it.

    Calls from several threads at once are fine: each has its own connection from the pool. Reading calls are
    tried again (``settings.retries``); calls that change something go out once.

    :param settings: where to call, and the bounds.
    :param session: HTTP session to use in place of an own one.
    :raises DeepchecksConfigError: the token is empty or cannot be a token.
    """

    def __init__(self, settings: ClientSettings, *, session: requests.Session | None = None) -> None:
        # Here, so that importing this module is free: triggers and operators subclass and name the client.
        from airflow_provider_deepchecks.client.transport import Transport

        self.settings = settings
        self._http = Transport(settings, session=session)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DeepchecksClient {self.settings.base_url}>"

    def close(self) -> None:
        """Close the open connections."""
        self._http.close()

    def server_now(self) -> datetime:
        """The server's time, UTC, about a second late at most; the local clock before the first answer."""
        return self._http.clock.now()

    # -- the server ------------------------------------------------------------------------------------------

    def health(self) -> None:
        """Whether the server can be reached. Sends no token.

        :raises DeepchecksError: it cannot.
        """
        self._http.read("/health-check", expected="text", token=False)

    def backend_version(self) -> str:
        """The server's version. The cheapest call that checks the token."""
        return self._get("/backend-version", lambda payload: str(payload["version"]))

    # -- names -----------------------------------------------------------------------------------------------

    def available_models(self) -> list[ModelRef]:
        """All models that the token may see, with their versions: the one cheap call from names to ids.

        By-name paths are of no use: a name with ``/`` or ``..`` cannot be reached through them at all.
        """
        try:
            # Without show_all only the models are listed that the token's user is a member of.
            return self._get("/available-models", parse.models, params={"show_all": "true"})
        except DeepchecksAuthError:
            return self._get("/available-models", parse.models)

    @overload
    def resolve(self, model: str, version: None = None) -> tuple[ModelRef, None]: ...

    @overload
    def resolve(self, model: str, version: str) -> tuple[ModelRef, VersionRef]: ...

    @overload
    def resolve(self, model: str, version: str | None) -> tuple[ModelRef, VersionRef | None]: ...

    def resolve(self, model: str, version: str | None = None) -> tuple[ModelRef, VersionRef | None]:
        """Find a model, and one of its versions, by their exact names.

        :raises DeepchecksNotFoundError: no such name; the message lists the nearest ones.
        """
        found = find_model(self.available_models(), model, self.settings.base_url)
        return found, None if version is None else find_version(found, version)

    def model(self, model_id: int) -> Model:
        """One model.

        :raises DeepchecksNotFoundError: no such id.
        """
        return self._get(f"/models/{model_id:d}", parse.model)

    def version(self, version_id: int) -> ModelVersion:
        """One version, with the times of its oldest and newest sample.

        :raises DeepchecksNotFoundError: no such id.
        """
        return self._get(f"/model-versions/{version_id:d}", parse.version)

    def schema(self, version_id: int) -> VersionSchema:
        """What a version's samples look like.

        :raises DeepchecksNotFoundError: no such id.
        """
        return self._get(f"/model-versions/{version_id:d}/schema", parse.schema)

    # -- sending ---------------------------------------------------------------------------------------------

    def send_samples(self, version_id: int, body: bytes, rows: int) -> SendResult:
        """Send samples, once. The answer 200 does not mean that they are stored.

        :param body: JSON array of samples.
        :param rows: how many they are.
        :raises DeepchecksRateLimitError: the first ``num_saved`` rows were received, the rest was not.
        :raises DeepchecksPayloadTooLargeError: a proxy refused the size.
        :raises DeepchecksTimeoutError: no answer; the server may go on and store them all.
        :raises DeepchecksConnectionError: see its ``maybe_received``.
        :raises DeepchecksServerError: HTTP 5xx. The request is one transaction unless the server uses Kafka.
        """
        return self._sent(self._http.send("POST", f"/model-versions/{version_id:d}/data", body=body), rows)

    def send_labels(self, model_id: int, body: bytes, rows: int) -> SendResult:
        """Send labels, once. They reach every version that holds the sample, now or later; last write wins.

        :param body: JSON array of labels.
        :param rows: how many they are; above about 2,000 the server slows down more than in proportion.
        :raises DeepchecksError: as :meth:`send_samples`.
        """
        return self._sent(self._http.send("PUT", f"/model/{model_id:d}/labels", body=body), rows)

    # -- what has arrived ------------------------------------------------------------------------------------

    def version_statuses(self, model_id: int) -> list[VersionStatus]:
        """Pending rows and last update of each version of a model. Cheap: this is what to poll."""
        return self._get(f"/connected-models/{model_id:d}/versions", parse.version_statuses)

    def model_statuses(self) -> list[ModelStatus]:
        """Pending rows and counts of each model. Counts every row: slow on large models."""
        return self._get("/connected-models", parse.model_statuses)

    def count_samples(self, version_id: int) -> int:
        """Samples of a version, without its reference. A full count."""
        path = f"/model-versions/{version_id:d}/count-samples"
        return self._get(path, lambda payload: int(payload["monitor_count"]))

    def ingestion_status(self, model_id: int, version_id: int) -> IngestionStatus:
        """How far a version is. Three calls, one of which counts every stored row.

        :raises DeepchecksNotFoundError: no such model, or it has no such version.
        """
        statuses = {status.version_id: status for status in self.version_statuses(model_id)}
        if version_id not in statuses:
            raise DeepchecksNotFoundError(f"Model {model_id} has no version {version_id}.")
        counts = self.window_counts(version_id, None, None)
        return IngestionStatus(
            pending_rows=statuses[version_id].pending_rows,
            last_update=statuses[version_id].last_update,
            latest_sample=self.version(version_id).end_time,
            samples=counts.samples,
            labeled=counts.labeled,
        )

    def window_counts(self, version_id: int, start: datetime | None, end: datetime | None) -> WindowCounts:
        """Samples of a version whose time lies in [start, end), and how many of them are labelled.

        :param start: with a time zone; None is without bound.
        :param end: with a time zone; None is without bound.
        """
        return self._get(
            f"/model-versions/{version_id:d}/time-window-statistics",
            parse.window_counts,
            body={"start_time": _rfc3339(start), "end_time": _rfc3339(end)},
        )

    def stored_samples(
        self, version_id: int, start: datetime, end: datetime, rows: int
    ) -> list[dict[str, Any]]:
        """A random choice of a version's samples in [start, end), with their ids; all if ``rows`` suffices.

        :param rows: 1 to 100,000.
        :raises DeepchecksAnswerTooLargeError: they have too much in them to be read at once.
        """
        if not 1 <= rows <= MAX_STORED_SAMPLES:
            raise DeepchecksConfigError(f"rows must be 1 to {MAX_STORED_SAMPLES:,}, not {rows}.")
        return self._get(
            f"/model-versions/{version_id:d}/get-prod-data",
            parse.stored_samples,
            method="POST",
            body={"start_time": _rfc3339(start), "end_time": _rfc3339(end), "rows_count": rows},
        )

    def ingestion_errors(
        self,
        model_id: int,
        *,
        version_id: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        page_size: int = MAX_PAGE,
    ) -> Iterator[IngestionError]:
        """Rows refused after the 200, ordered by their message, page by page.

        :param version_id: only errors of this version; errors of labels belong to none.
        :param start: only errors noted since; cut down to the second.
        :param end: only errors noted until; rounded up to the second.
        :param page_size: 1 to 300.
        """
        if not 1 <= page_size <= MAX_PAGE:
            raise DeepchecksConfigError(f"page_size must be 1 to {MAX_PAGE}, not {page_size}.")
        # By message and not by time: the errors of one request share their time, and rows that are equal in
        # the sort key can change places between pages. Messages name the sample. New errors only push others
        # back.
        params: dict[str, Any] = {"limit": page_size, "sort_key": "error", "sort_order": "asc"}
        if version_id is not None:
            params["model_version_id"] = version_id
        if start is not None:
            params["start_time_epoch"] = math.floor(_aware(start).timestamp())
        if end is not None:
            params["end_time_epoch"] = math.ceil(_aware(end).timestamp())
        path = f"/connected-models/{model_id:d}/ingestion-errors"
        seen: OrderedDict[int, None] = OrderedDict()
        offset = 0
        while True:
            page = self._get(path, parse.ingestion_errors, params={**params, "offset": offset})
            yield from (error for error in page if error.id not in seen)
            if len(page) < page_size:
                return
            seen.update((error.id, None) for error in page)
            while len(seen) > REMEMBERED_ERRORS:
                seen.popitem(last=False)
            offset += page_size

    # -- set-up and clean-up ---------------------------------------------------------------------------------

    def create_model(
        self,
        name: str,
        task_type: TaskType,
        *,
        description: str | None = None,
        alerts_delay_labels_ratio: float = 1.0,
        alerts_delay_seconds: int = 259_200,
    ) -> int:
        """Create a model, or find the one of that name.

        :param name: at most 50 characters.
        :param alerts_delay_labels_ratio: share of labelled samples that alerts wait for.
        :param alerts_delay_seconds: longest wait for it, seconds (72 h is the official client's default).
        :return: its id.
        :raises DeepchecksRequestError: the name exists with another task type or description (HTTP 400), or
            the server's edition allows no more models (HTTP 402).
        """
        fields: dict[str, Any] = {
            "name": name,
            "task_type": task_type,
            "alerts_delay_labels_ratio": alerts_delay_labels_ratio,
            "alerts_delay_seconds": alerts_delay_seconds,
        }
        if description is not None:
            fields["description"] = description
        return self._create("/models", fields)

    def create_version(
        self,
        model_id: int,
        name: str,
        *,
        features: Mapping[str, str],
        additional_data: Mapping[str, str] | None = None,
        feature_importance: Mapping[str, float] | None = None,
        classes: Sequence[str] | None = None,
    ) -> int:
        """Create a version, or find the one of that name.

        :param name: at most 100 characters.
        :param features: column -> type (numeric, integer, bigint, categorical, boolean, text, array_float,
            array_float_2d, datetime).
        :param additional_data: column -> type.
        :param classes: sorted; two or more, exactly two for a binary model.
        :return: its id.
        :raises DeepchecksRequestError: the name exists with another schema (HTTP 400), or the schema is
            wrong.
        """
        fields: dict[str, Any] = {
            "name": name,
            "features": dict(features),
            "additional_data": dict(additional_data or {}),
        }
        if feature_importance is not None:
            fields["feature_importance"] = dict(feature_importance)
        if classes is not None:
            fields["classes"] = list(classes)
        return self._create(f"/models/{model_id:d}/version", fields)

    def delete_model(self, model_id: int) -> None:
        """Delete a model with all its versions and rows."""
        self._http.send("DELETE", f"/models/{model_id:d}")

    def delete_version(self, version_id: int) -> None:
        """Delete a version with all its rows."""
        self._http.send("DELETE", f"/model-versions/{version_id:d}")

    def upload_reference(self, version_id: int, body: bytes) -> None:
        """Append to a version's reference data. The server keeps 100,000 rows in all and drops the rest.

        :param body: JSON as ``DataFrame.to_json(orient="split")`` writes it; at most 20,000,000 bytes.
        """
        if len(body) > MAX_REFERENCE_BYTES:
            raise DeepchecksConfigError(
                f"{len(body):,} bytes of reference data: the server takes {MAX_REFERENCE_BYTES:,} at once. "
                "Send it in parts."
            )
        part = ("reference.json", body, "application/json")
        self._http.send("POST", f"/model-versions/{version_id:d}/reference", files={"batch": part})

    # -- inside ----------------------------------------------------------------------------------------------

    def _get(
        self,
        path: str,
        parsed: Callable[[Any], T],
        *,
        method: str = "GET",
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> T:
        content = None if body is None else json.dumps(body).encode()
        return self._parse(self._http.read(path, method=method, params=params, body=content), path, parsed)

    def _create(self, path: str, fields: Mapping[str, Any]) -> int:
        answer = self._http.send("POST", path, body=json.dumps(fields).encode(), expected="json")
        return self._parse(answer, path, lambda payload: int(payload["id"]))

    def _parse(self, answer: Answer, path: str, parsed: Callable[[Any], T]) -> T:
        try:
            return parsed(answer.json())
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DeepchecksServerError(
                f"{self.settings.base_url} answered {path} without what is needed "
                f"({type(error).__name__}: {error}): is it a Deepchecks Monitoring server like 0.19?",
                status=answer.status,
            ) from error

    def _sent(self, answer: Answer, rows: int) -> SendResult:
        return SendResult(rows=rows, server_time=answer.server_time, seconds=answer.seconds)


def _aware(value: datetime) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise DeepchecksConfigError(f"{value!r} is no datetime with a time zone, such as UTC: give one.")
    return value.astimezone(UTC)


def _rfc3339(value: datetime | None) -> str | None:
    return None if value is None else _aware(value).isoformat()
