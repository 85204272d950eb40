# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""``python -m airflow_provider_deepchecks.local_server``: a Deepchecks to try things on."""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import sys
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.local_server.options import DEFAULT_TOKEN, SERVER_VERSION, Options
from airflow_provider_deepchecks.local_server.ratelimit import DEFAULT_ROWS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Sequence


def parser() -> argparse.ArgumentParser:
    """The command line."""
    commands = argparse.ArgumentParser(
        prog="python -m airflow_provider_deepchecks.local_server",
        description="A stand-in Deepchecks server to try things on.",
    )
    add = commands.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=8000, help="port to listen on, 0 for any free one (default: %(default)s)")
    add("--token", help="API token, '<base64 of an e-mail>.<secret>' (default: a fixed one)")
    add(
        "--database",
        metavar="FILE",
        help="SQLite file that keeps the state over a restart (default: in memory)",
    )
    add(
        "--unlimited-models",
        action="store_true",
        help="allow more than one model (the open-source edition does not)",
    )
    add(
        "--rows-per-minute",
        type=int,
        default=DEFAULT_ROWS_PER_MINUTE,
        metavar="ROWS",
        help="rate limit (%(default)s)",
    )
    add("--consumer", action="store_true", help="queue the uploads and write them later, as with Kafka")
    add(
        "--consumer-delay",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="wait before each poll (%(default)s)",
    )
    add("--poll-size", type=int, default=500, metavar="ROWS", help="rows of a poll (%(default)s)")
    add(
        "--clock-offset",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how far its clock is ahead (%(default)s)",
    )
    add(
        "--log-level",
        default="warning",
        choices=["critical", "error", "warning", "info", "debug"],
        help="(%(default)s)",
    )
    return commands


def main(argv: Sequence[str] | None = None) -> int:
    """Run until interrupted."""
    commands = parser()
    arguments = commands.parse_args(argv)
    try:
        from airflow_provider_deepchecks.local_server.handle import Handle
        from airflow_provider_deepchecks.local_server.server import listen, uvicorn_server
        from airflow_provider_deepchecks.local_server.state import State
    except ModuleNotFoundError as error:
        print(
            f"{error}: install the extra, pip install 'airflow-provider-deepchecks[local-server]'",
            file=sys.stderr,
        )
        return 2
    try:
        options = Options(
            token=arguments.token or os.environ.get("DEEPCHECKS_STAND_IN_TOKEN") or DEFAULT_TOKEN,
            database=arguments.database,
            rows_per_minute=arguments.rows_per_minute,
            one_model=not arguments.unlimited_models,
            consumer=arguments.consumer,
            consumer_delay=arguments.consumer_delay,
            poll_size=arguments.poll_size,
            clock_offset=arguments.clock_offset,
        )
    except ValueError as error:
        commands.error(str(error))
    try:
        listener = listen(arguments.host, arguments.port)
    except (OSError, OverflowError) as error:
        commands.error(f"--host {arguments.host} --port {arguments.port}: {error}")
    try:
        state = State(options)
    except sqlite3.Error as error:
        commands.error(f"--database {options.database}: {error}")
    server, _ = uvicorn_server(state, log_level=arguments.log_level)
    handle = Handle(f"http://{arguments.host}:{listener.getsockname()[1]}", options.token)
    print(f"Deepchecks stand-in (as server {SERVER_VERSION}) at {handle.url}")
    print(f"API token: {handle.token}")
    print(
        f"Airflow connection:\nexport AIRFLOW_CONN_DEEPCHECKS_DEFAULT='{handle.connection_json}'", flush=True
    )
    try:
        # Ctrl-C, which ends it, is raised once more when all is done.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    finally:
        state.storage.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
