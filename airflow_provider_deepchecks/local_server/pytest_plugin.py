# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""pytest fixtures: a fresh stand-in for a test, with ``AIRFLOW_CONN_DEEPCHECKS_DEFAULT`` set to it.

This module is imported by every pytest run on a machine that has the package, so it imports nothing itself.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_deepchecks.local_server.server import LocalServer


@pytest.fixture
def deepchecks_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A Deepchecks server that works on each upload at once; any number of models. The connection
    ``deepchecks_default`` names it."""
    with _running(monkeypatch, one_model=False) as server:
        yield server


@pytest.fixture
def deepchecks_consumer_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A Deepchecks server that queues uploads and writes them a little later; any number of models. The
    connection ``deepchecks_default`` names it."""
    with _running(
        monkeypatch, one_model=False, consumer=True, consumer_delay=0.05, offset_lag=0.02
    ) as server:
        yield server


@contextmanager
def _running(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[LocalServer]:
    try:
        from airflow_provider_deepchecks.local_server.options import Options
        from airflow_provider_deepchecks.local_server.server import LocalServer
    except ModuleNotFoundError as error:
        pytest.fail(
            f"{error}: the Deepchecks fixtures need the extra local-server, "
            "pip install 'airflow-provider-deepchecks[local-server]'",
            pytrace=False,
        )
    with LocalServer(Options(broker_timeout=0.3, **settings)) as server:
        monkeypatch.setenv("AIRFLOW_CONN_DEEPCHECKS_DEFAULT", server.connection_json)
        yield server
