# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A Deepchecks server as the contract tests see it: the stand-in, or a real one."""

from __future__ import annotations

import csv
import io
import json
import socket
import ssl
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_deepchecks.local_server import LocalServer

FEATURES = {"f_num": "numeric", "f_int": "integer", "f_cat": "categorical", "f_bool": "boolean"}
ADDITIONAL = {"extra": "text"}

#: Stands for a column that a row does not have.
ABSENT = object()


def ago(**delta: float) -> str:
    """A time before now, as samples carry it."""
    return (datetime.now(UTC) - timedelta(**delta)).isoformat()


def sample(sample_id: Any = "s0", **changes: Any) -> dict[str, Any]:
    """A good row of the usual version, with changes."""
    row = {
        "_dc_sample_id": sample_id,
        "_dc_time": ago(minutes=5),
        "_dc_prediction": 1.5,
        "f_num": 0.5,
        "f_int": 3,
        "f_cat": "a",
        "f_bool": True,
        "extra": "x",
        **changes,
    }
    return {name: value for name, value in row.items() if value is not ABSENT}


def samples(count: int, prefix: str = "s") -> list[dict[str, Any]]:
    """Good rows."""
    return [sample(f"{prefix}{number}") for number in range(count)]


def label(sample_id: Any, value: Any) -> dict[str, Any]:
    """A label."""
    return {"_dc_sample_id": sample_id, "_dc_label": value}


def eventually(check: Callable[[], bool], patience: float) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + patience
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@dataclass(frozen=True)
class Version:
    """A version made by a test."""

    id: int
    model_id: int
    name: str


class Deepchecks:
    """A server and what the tests do with it.

    :param is_async: whether uploads are queued.
    :param switches: the stand-in's switches; None on a real server.
    """

    def __init__(self, url: str, token: str, *, is_async: bool, switches: LocalServer | None) -> None:
        self.url = url
        self.token = token
        self.is_async = is_async
        self.switches = switches
        #: Seconds within which what was queued is written.
        self.patience = 10.0 if switches else 60.0
        #: Seconds after which nothing more is to be expected of the consumer.
        self.silence = 0.1 if switches else 8.0
        #: For https: the machine's certificates, or those of SSL_CERT_FILE.
        self.tls = ssl.create_default_context()
        # A connection for each request: after an answer 500 the server closes it without a word.
        self.client = httpx.Client(
            base_url=f"{url}/api/v1",
            headers={"Authorization": f"Basic {token}"},
            timeout=60,
            trust_env=False,
            verify=self.tls,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._models: list[int] = []

    # -- calls ----------------------------------------------------------------------------------------------

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET."""
        return self.client.request("GET", path, **options)

    def send(self, method: str, path: str, body: Any, **options: Any) -> httpx.Response:
        """Send JSON; NaN and infinities go as the literals Python knows."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return self.client.request(method, path, content=content, headers=headers, **options)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        """POST JSON."""
        return self.send("POST", path, body, **options)

    def upload(self, version: Version, rows: Any, **options: Any) -> httpx.Response:
        """Send samples."""
        return self.post(f"/model-versions/{version.id}/data", rows, **options)

    def label(self, version: Version, labels: Any, **options: Any) -> httpx.Response:
        """Send labels to the version's model."""
        return self.send("PUT", f"/model/{version.model_id}/labels", labels, **options)

    @contextmanager
    def connection(self, method: str, path: str, body: bytes = b"") -> Iterator[socket.socket]:
        """A bare connection on which a request was sent; what comes back is the test's to read."""
        address = urlsplit(self.url)
        assert address.hostname is not None
        port = address.port or (443 if address.scheme == "https" else 80)
        head = (
            f"{method} {address.path}/api/v1{path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Basic {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((address.hostname, port), timeout=20) as plain:
            if address.scheme != "https":
                plain.sendall(head.encode() + body)
                yield plain
                return
            with self.tls.wrap_socket(plain, server_hostname=address.hostname) as connection:
                connection.sendall(head.encode() + body)
                yield connection

    # -- models ---------------------------------------------------------------------------------------------

    def unfit(self) -> str | None:
        """Why the tests cannot begin, None when they can: a left-over model would spoil all counts."""
        # Not /available-models, which answers 500 where a killed run has left a sample of year 1.
        answer = self.get("/connected-models")
        if answer.status_code != 200:
            return f"HTTP {answer.status_code} {answer.text}"
        names = [model["name"] for model in answer.json()]
        return f"it has {', '.join(names)}" if names else None

    def post_model(self, name: str, task_type: str = "regression", **fields: Any) -> httpx.Response:
        """Make a model; it is deleted after the test."""
        body = {
            "name": name,
            "task_type": task_type,
            "alerts_delay_labels_ratio": 1.0,
            "alerts_delay_seconds": 0,
        }
        answer = self.post("/models", body | fields)
        if answer.status_code == 200 and answer.json()["id"] not in self._models:
            self._models.append(answer.json()["id"])
        return answer

    def post_version(self, model_id: int, name: str = "v1", **fields: Any) -> httpx.Response:
        """Make a version."""
        body = {"name": name, "features": FEATURES, "additional_data": ADDITIONAL}
        return self.post(f"/models/{model_id}/version", body | fields)

    def version(self, task_type: str = "regression", name: str = "v1", **fields: Any) -> Version:
        """Make the test's model, once, and a version of it."""
        if not self._models:
            assert self.post_model("contract", task_type).status_code == 200
        answer = self.post_version(self._models[0], name, **fields)
        assert answer.status_code == 200, answer.text
        return Version(answer.json()["id"], self._models[0], name)

    def clean(self) -> None:
        """Delete what the test made, after the rows that are still in the queue."""
        if self.switches:
            self.switches.wait_until_idle()
        for model_id in self._models:
            assert self.client.delete(f"/models/{model_id}").status_code == 200
        self._models.clear()

    def forget_models(self) -> None:
        """The test has deleted its models itself."""
        self._models.clear()

    # -- state ----------------------------------------------------------------------------------------------

    def count(self, version: Version) -> int:
        """Stored rows."""
        return int(self.get(f"/model-versions/{version.id}/count-samples").json()["monitor_count"])

    def errors(self, version: Version, **query: Any) -> list[dict[str, Any]]:
        """Ingestion errors of the model, oldest first."""
        query = {"limit": 300, "sort_order": "asc", **query}
        answer = self.get(f"/connected-models/{version.model_id}/ingestion-errors", params=query)
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    def downloaded(self, version: Version, **query: Any) -> list[list[str]]:
        """Ingestion errors of the model as CSV, the header first; up to 10,000 of them."""
        query = {"limit": 10_000, "download": "true", **query}
        answer = self.get(f"/connected-models/{version.model_id}/ingestion-errors", params=query)
        assert answer.status_code == 200, answer.text
        return list(csv.reader(io.StringIO(answer.text)))

    def pending(self, version: Version) -> int:
        """Pending rows of a version."""
        return int(self.connected_version(version)["n_of_pending_rows"])

    def connected_version(self, version: Version) -> dict[str, Any]:
        """The version in /connected-models/{id}/versions."""
        answer = self.get(f"/connected-models/{version.model_id}/versions")
        return next(entry for entry in answer.json() if entry["id"] == version.id)

    def connected_model(self, version: Version) -> dict[str, Any]:
        """The model in /connected-models."""
        return next(
            entry for entry in self.get("/connected-models").json() if entry["id"] == version.model_id
        )

    def window(self, version: Version, start: str | None = None, end: str | None = None) -> tuple[int, int]:
        """Samples and labelled samples of a window."""
        path = f"/model-versions/{version.id}/time-window-statistics"
        answer = self.send("GET", path, {"start_time": start, "end_time": end})
        assert answer.status_code == 200, answer.text
        return answer.json()["num_samples"], answer.json()["num_labeled_samples"]

    def stored(self, version: Version) -> dict[str, dict[str, Any]]:
        """All stored rows by id (tests store few)."""
        body = {
            "start_time": "0002-01-01T00:00:00Z",
            "end_time": "2200-01-01T00:00:00Z",
            "rows_count": 10_000,
        }
        answer = self.post(f"/model-versions/{version.id}/get-prod-data", body)
        assert answer.status_code == 200, answer.text
        return {row["_dc_sample_id"]: row for row in rows_of(answer)}

    def settles(self, version: Version, *, stored: int | None = None, refused: int | None = None) -> bool:
        """Whether the server comes to hold so many rows and to list so many errors."""

        def check() -> bool:
            return (stored is None or self.count(version) == stored) and (
                refused is None or len(self.errors(version)) == refused
            )

        return eventually(check, self.patience if self.is_async else 0)

    def labelled(self, version: Version, count: int) -> bool:
        """Whether the version comes to have so many labelled rows."""
        return eventually(lambda: self.window(version)[1] == count, self.patience if self.is_async else 0)

    def fall_silent(self) -> None:
        """Wait until the consumer has had its chance."""
        if self.is_async:
            if self.switches:
                self.switches.wait_until_idle()
            time.sleep(self.silence)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the stand-in's consumer from being faster than the test; a real one is slow enough."""
        if self.switches:
            self.switches.pause_consumer()
        try:
            yield
        finally:
            if self.switches:
                self.switches.resume_consumer()


def rows_of(answer: httpx.Response) -> Iterable[dict[str, Any]]:
    """The rows of get-prod-data and get-ref-data: a JSON text inside of JSON."""
    rows: list[dict[str, Any]] = json.loads(answer.json())
    return rows
