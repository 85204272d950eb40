# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""``make airflow``: the example DAGs in Airflow's web UI, against a stand-in Deepchecks; Ctrl-C ends it."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from example_dags.demo import stage

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds Airflow may take until its web UI answers.
PATIENCE = 180


def free_port(wanted: int) -> int:
    """The wanted port of 127.0.0.1, or any other when it is taken."""
    for port in (wanted, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as probe:
                return int(probe.getsockname()[1])
        except OSError:
            continue
    raise SystemExit("No port of 127.0.0.1 is free.")


def settings(port: int, log: Path) -> dict[str, str]:
    """Airflow's settings for a web UI on this machine alone (both the names of 2.11 and those of 3.x)."""
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
        # It listens on this machine only, and holds nothing but the flights: no login.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "30",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(log.parent / "logs"),
    }


def show_connections(names: Sequence[str], log: Path) -> None:
    """Put connections into Airflow's database as well: the web UI shows only what is there."""
    with log.open("ab") as output:
        for name in names:
            told = os.environ[f"AIRFLOW_CONN_{name.upper()}"]
            command = [sys.executable, "-m", "airflow", "connections", "add", name, "--conn-json", told]
            subprocess.run(command, check=True, stdout=output, stderr=subprocess.STDOUT)


def wait_for(url: str, airflow: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the web UI answers.

    :raises SystemExit: Airflow has ended, or takes too long.
    """
    deadline = time.monotonic() + PATIENCE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if airflow.poll() is not None:
            raise SystemExit(f"Airflow has ended: see {log}")
        try:
            opener.open(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(1)
    raise SystemExit(f"Airflow does not answer after {PATIENCE} s: see {log}")


def login(home: Path) -> str:
    """How to get in, in words."""
    password = home / "standalone_admin_password.txt"
    if password.exists():
        return f"log in as admin with the password {password.read_text().strip()}"
    return "no login is asked for"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m example_dags.demo.web", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="port of the web UI (default: %(default)s)")
    parser.add_argument(
        "--home", type=Path, default=stage.ROOT / ".demo" / "web", help="directory to work in"
    )
    chosen = parser.parse_args(arguments)

    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    # A token that was given to us stays out of the database.
    shown = ["warehouse"]
    if not os.environ.get("AIRFLOW_CONN_DEEPCHECKS_DEFAULT"):
        shown.append("deepchecks_default")
    stage.set_up(chosen.home)
    log = chosen.home / "airflow.log"
    port = free_port(chosen.port)
    with stage.deepchecks(free_port(8000)) as server:
        print(f"Starting Airflow in {chosen.home}, and {server} ...", flush=True)
        stage.migrate(log)
        show_connections(shown, log)
        from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook

        with DeepchecksHook().get_conn() as client:
            stage.create_model(client)
        os.environ |= settings(port, log)
        with log.open("ab") as output:
            # A session of its own: Ctrl-C is for us, and we end all of Airflow's processes together.
            airflow = subprocess.Popen(
                [sys.executable, "-m", "airflow", "standalone"],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, airflow, log)
            print(f"\nAirflow: {url} ({login(chosen.home)})\nThe example DAGs run already. Log: {log}")
            print("Ctrl-C ends everything.", flush=True)
            return airflow.wait()
        except KeyboardInterrupt:
            print("\nStopping ...", flush=True)
            return 0
        finally:
            stop(airflow)


def stop(airflow: subprocess.Popen[bytes]) -> None:
    """End Airflow with all its processes."""
    for how, seconds in ((signal.SIGINT, 20), (signal.SIGKILL, 5)):
        try:
            os.killpg(airflow.pid, how)
            airflow.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


if __name__ == "__main__":
    sys.exit(main())
