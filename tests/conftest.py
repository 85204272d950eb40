# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What all tests share: an Airflow of their own, its database, and no way out of this machine.

Except to the server that the contract is to be held against, where one is given (tests/contract/conftest.py).

Airflow reads its settings when it is imported, so they are set here, before any test module is.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import hypothesis
import pytest

pytest_plugins = ["tests.services"]

# The same examples in each run, however slow the machine: what fails has to do with a change. `make soak`
# looks for others.
for profile, same in (("same", True), ("random", False)):
    hypothesis.settings.register_profile(
        profile, derandomize=same, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
hypothesis.settings.load_profile("same")


def _own_airflow() -> Path:
    """Make an empty AIRFLOW_HOME below a directory that all test processes of this run share."""
    # The user's own connections and settings must not decide what the tests see.
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    shared = os.environ.get("DEEPCHECKS_TEST_DIR")
    if shared is None:
        shared = os.environ["DEEPCHECKS_TEST_DIR"] = tempfile.mkdtemp(prefix="deepchecks-tests-")
        atexit.register(shutil.rmtree, shared, ignore_errors=True)
    home = Path(shared) / os.environ.get("PYTEST_XDIST_WORKER", "main")
    (home / "dags").mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-these-tests-" * 4,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "SCARF_ANALYTICS": "false",
    }
    return home


AIRFLOW_HOME = _own_airflow()


def _stay_on_this_machine(event: str, args: tuple[object, ...]) -> None:
    """Refuse connections that leave the machine: a test that needs one is wrong."""
    if event != "socket.connect":
        return
    address = args[1]
    if not isinstance(address, tuple) or str(address[0]).startswith(("127.", "::1", "localhost")):
        return
    if address[0] not in _contract_addresses():
        raise RuntimeError(f"A test tried to connect to {address[0]}")


def _contract_addresses() -> set[object]:
    """Where the contract tests may connect to. Looked up each time: a balancer's addresses change."""
    host = urlsplit(os.environ.get("DEEPCHECKS_CONTRACT_HOST", "")).hostname
    return {entry[4][0] for entry in socket.getaddrinfo(host, None)} if host else set()


sys.addaudithook(_stay_on_this_machine)


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """AIRFLOW_HOME of this test process."""
    return AIRFLOW_HOME


@pytest.fixture(scope="session")
def airflow_db(airflow_home: Path) -> Path:
    """Airflow's metadata database (SQLite) of this test process, migrated.

    Migrating takes ten seconds and more, so one process does it and the others copy the file.
    """
    template = airflow_home.parent / "migrated.db"
    database = airflow_home / "airflow.db"
    with open(f"{template}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            command = [sys.executable, "-m", "airflow", "db", "migrate"]
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
            assert done.returncode == 0, done.stdout + done.stderr
            shutil.copyfile(database, template)
        else:
            _restore(template, database)
    return database


def _restore(template: Path, database: Path) -> None:
    # Through SQLite, not over the file: Airflow of this process may have it open.
    with closing(sqlite3.connect(template)) as migrated, closing(sqlite3.connect(database)) as restored:
        migrated.backup(restored)


@pytest.fixture
def fresh_airflow_db(airflow_db: Path) -> Path:
    """The migrated database without anything that earlier tests of this process have left in it."""
    _restore(airflow_db.parent.parent / "migrated.db", airflow_db)
    return airflow_db
