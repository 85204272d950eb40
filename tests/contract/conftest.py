# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Which server the contract is held against.

The stand-in by default, in both modes. A real one with DEEPCHECKS_CONTRACT_HOST (its URL) and
DEEPCHECKS_CONTRACT_TOKEN, and DEEPCHECKS_CONTRACT_ASYNC=1 when it runs with Kafka; its organisation must have
no models, since the open-source edition takes but one. SSL_CERT_FILE names the certificates of an authority
of one's own. The tests of the rate limit (test_rate_limit.py) need a server with a small one, all others one
with a large one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from airflow_provider_deepchecks.local_server import LocalServer, Options
from tests.contract.deepchecks import Deepchecks

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOST = os.environ.get("DEEPCHECKS_CONTRACT_HOST")
_REAL_MODE = "async" if os.environ.get("DEEPCHECKS_CONTRACT_ASYNC") == "1" else "sync"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test in each mode it is about."""
    if "mode" not in metafunc.fixturenames:
        return
    only = {marker.args[0] for marker in metafunc.definition.iter_markers("mode")} or {"sync", "async"}
    if _HOST is None:
        modes = [pytest.param(mode) for mode in ("sync", "async") if mode in only]
    else:
        skip = [] if _REAL_MODE in only else [pytest.mark.skip(reason="about the server's other mode")]
        modes = [pytest.param(_REAL_MODE, marks=skip)]
    metafunc.parametrize("mode", modes, scope="session")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "mode(name): only about the server in that mode, sync or async (with Kafka)"
    )


@pytest.fixture(scope="session")
def server(mode: str) -> Iterator[Deepchecks]:
    """The server, in a mode."""
    if _HOST:
        token = os.environ["DEEPCHECKS_CONTRACT_TOKEN"]
        deepchecks = Deepchecks(_HOST.rstrip("/"), token, is_async=mode == "async", switches=None)
        if reason := deepchecks.unfit():
            pytest.exit(f"The contract tests need an organisation without models: {reason}", returncode=1)
        yield deepchecks
        deepchecks.client.close()
        return
    options = Options(consumer=mode == "async", consumer_delay=0.02, offset_lag=0.02, broker_timeout=0.2)
    with LocalServer(options) as stand_in:
        deepchecks = Deepchecks(stand_in.url, stand_in.token, is_async=mode == "async", switches=stand_in)
        yield deepchecks
        deepchecks.client.close()


@pytest.fixture
def deepchecks(server: Deepchecks) -> Iterator[Deepchecks]:
    """The server, without models before and after the test."""
    yield server
    server.clean()


@pytest.fixture
def switches(deepchecks: Deepchecks) -> LocalServer:
    """What a test may break on purpose or set small; a real server has none of it."""
    if deepchecks.switches is None:
        pytest.skip("needs the stand-in's switches")
    return deepchecks.switches
