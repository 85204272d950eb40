# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A stand-in Deepchecks server: to try things on, for demos, and for the tests of your own DAGs.

It behaves like Deepchecks Monitoring 0.19.3, faults included, as far as sending and checking rows goes. It
runs no monitors and shows no web pages. Needs the extra ``local-server``.

From a shell::

    python -m airflow_provider_deepchecks.local_server --port 8000

In a test, with the fixture the package brings::

    def test_my_dag(deepchecks_server):
        deepchecks_server.create_model("delays", "regression", version="v1", features={"distance": "numeric"})
        ...
        assert deepchecks_server.stored("delays", "v1").keys() == {"flight-1", "flight-2"}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server.options import DEFAULT_TOKEN, Options
    from airflow_provider_deepchecks.local_server.server import CreatedVersion, LocalServer, ServerProcess

__all__ = ["DEFAULT_TOKEN", "CreatedVersion", "LocalServer", "Options", "ServerProcess"]


def __getattr__(name: str) -> Any:
    # The web framework takes most of a second to import: only when somebody starts a server.
    if name in {"DEFAULT_TOKEN", "Options"}:
        from airflow_provider_deepchecks.local_server import options

        return getattr(options, name)
    if name in __all__:
        from airflow_provider_deepchecks.local_server import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
