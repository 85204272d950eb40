# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_deepchecks.client.settings import ClientSettings
from airflow_provider_deepchecks.client.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Like a real one: base64 of an e-mail, a dot, a secret. No test may ever find it in a message.
TOKEN = "Y2FuYXJ5QGV4YW1wbGUuY29t.CaNaRy-0123456789"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, CA file or .netrc of the machine decides what the tests see."""
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NETRC", "/nonexistent")


@pytest.fixture
def transport() -> Iterator[Callable[..., Transport]]:
    """Makes transports that do not sleep; ``transport.waits`` holds the seconds they would have slept."""
    made: list[Transport] = []

    def make(url: str, **settings: Any) -> Transport:
        waits: list[float] = []
        new = Transport(
            ClientSettings(**{"base_url": url, "token": TOKEN, "timeout": 5.0, "retries": 2} | settings),
            sleep=waits.append,
        )
        new.waits = waits  # type: ignore[attr-defined]
        made.append(new)
        return new

    yield make
    for transport in made:
        transport.close()
