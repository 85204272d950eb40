# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What the tests of the delivery share: rows, a client, and time that passes without waiting."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from airflow_provider_deepchecks.client.api import DeepchecksClient
from airflow_provider_deepchecks.client.settings import ClientSettings
from airflow_provider_deepchecks.delivery.upload.clock import UploadCancelledError
from airflow_provider_deepchecks.delivery.upload.targets import LabelTarget, SampleTarget, sample_target
from airflow_provider_deepchecks.delivery.upload.uploader import Uploader, UploadOptions
from airflow_provider_deepchecks.records.chunks.chunker import Chunk, ChunkSizer, chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_deepchecks.local_server.server import CreatedVersion, LocalServer
    from tests.delivery.fault_proxy import FaultProxy

START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(
    count: int,
    *,
    first: int = 0,
    start: datetime = START,
    step: timedelta = timedelta(seconds=1),
    labels: list[float | None] | None = None,
    prefix: str = "s",
) -> pa.RecordBatch:
    """Checked wire rows ``s0, s1, ...`` a second apart, with one feature ``f``."""
    numbers = range(first, first + count)
    columns: dict[str, Any] = {
        "_dc_sample_id": pa.array([f"{prefix}{n}" for n in numbers], pa.string()),
        "__time": pa.array([start + n * step for n in numbers], pa.timestamp("us", "UTC")),
        "_dc_prediction": pa.array([float(n) for n in numbers], pa.float64()),
        "f": pa.array([n / 7 for n in numbers], pa.float64()),
        "__position": pa.array(numbers, pa.int64()),
    }
    if labels is not None:
        columns["_dc_label"] = pa.array(labels, pa.float64())
    return pa.record_batch(columns)


def label_target(
    client: DeepchecksClient, model: str, window: tuple[datetime, datetime] | None = None
) -> LabelTarget:
    """The model of this name, with those of its versions that hold samples.

    :param window: inclusive sample times of the labels' samples, where they are known.
    :raises DeepchecksNotFoundError: no such model; the message lists the nearest names.
    """
    ref, _ = client.resolve(model)
    held = tuple(item.id for item in ref.versions if client.version(item.id).end_time is not None)
    return LabelTarget(ref.name, ref.id, held, window)


def label_rows(count: int, *, first: int = 0, value: float | None = 1.0) -> pa.RecordBatch:
    """Checked label rows for ``s0, s1, ...``."""
    numbers = range(first, first + count)
    return pa.record_batch(
        {
            "_dc_sample_id": pa.array([f"s{n}" for n in numbers], pa.string()),
            "_dc_label": pa.array([value] * count, pa.float64()),
            "__position": pa.array(numbers, pa.int64()),
        }
    )


@dataclass
class FastClock:
    """Time that passes at once: waiting moves the server's clock instead.

    :param cancel_after: cancel the upload after so many waits.
    """

    server: LocalServer
    waited: list[float] = field(default_factory=list)
    cancelled: bool = False
    #: Called before each wait.
    on_sleep: Callable[[float], None] = lambda seconds: None

    def monotonic(self) -> float:
        return self.server.clock.time()

    def server_now(self) -> datetime:
        return datetime.fromtimestamp(self.server.clock.time(), UTC)

    def sleep(self, seconds: float) -> None:
        self.on_sleep(seconds)
        self.waited.append(seconds)
        self.server.clock.advance(seconds)
        self.check()

    def check(self) -> None:
        if self.cancelled:
            raise UploadCancelledError("cancelled")


@pytest.fixture
def version(deepchecks_server: LocalServer) -> CreatedVersion:
    """A regression version with one feature ``f``."""
    return deepchecks_server.create_model("m", "regression", features={"f": "numeric"})


@pytest.fixture
def client(deepchecks_server: LocalServer) -> Iterator[DeepchecksClient]:
    with connect(deepchecks_server.url, deepchecks_server.token) as client:
        yield client


def connect(url: str, token: str, *, retries: int = 5) -> DeepchecksClient:
    """A client that does not wait between the tries of its reading calls."""
    client = DeepchecksClient(ClientSettings(url, token, timeout=10.0, connect_timeout=2.0, retries=retries))
    client._http._sleep = lambda seconds: None
    return client


def connect_through(proxy: FaultProxy, token: str, *, timeout: float, retries: int = 5) -> DeepchecksClient:
    """A client that soon gives up on requests that the proxy will be silent to, and on no others: a busy
    machine may take its time for those.

    :param timeout: seconds it waits for an answer that will not come.
    """
    client = connect(proxy.url, token, retries=retries)
    http = client._http
    exchange, patient = http._exchange, http.settings
    impatient = replace(patient, timeout=timeout)

    def exchange_in_time(call: str, method: str, path: str, *rest: Any) -> Any:
        http.settings = impatient if proxy.will_be_silent(path) else patient
        return exchange(call, method, path, *rest)

    http._exchange = exchange_in_time  # type: ignore[method-assign]
    return client


@pytest.fixture
def clock(deepchecks_server: LocalServer) -> FastClock:
    return FastClock(deepchecks_server)


def stream(*batches: pa.RecordBatch, size: int = 100, kind: Any = "samples") -> Callable[[], Iterator[Chunk]]:
    """Opens the rows as chunks of a size."""
    return lambda: chunks(batches, ChunkSizer(max_rows=size), kind)


def uploader(
    client: DeepchecksClient, clock: Any, target: SampleTarget | Any | None = None, **more: Any
) -> Uploader:
    """An uploader to version ``v1`` of model ``m``, with a seeded jitter."""
    options = UploadOptions(**{"source": "test", **more.pop("options", {})})
    return Uploader(
        client,
        target or sample_target(client, "m", "v1"),
        options,
        clock=clock,
        rng=random.Random(1),
        **more,
    )
