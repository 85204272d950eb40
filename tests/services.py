# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Real databases, a broker and an object store for the tests: private instances on loopback, gone afterwards.

Load with ``pytest_plugins = ["tests.services"]``. The servers come from Debian packages (``make services``
installs them); a missing one fails the test that needs it, since a skipped test would look like a passed one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

START_SECONDS = 60.0


@dataclass(frozen=True)
class Service:
    """Where a server listens, and who may log in."""

    port: int
    user: str = ""
    password: str = ""
    database: str = ""
    host: str = "127.0.0.1"

    @property
    def login(self) -> str:
        return f"{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"


@dataclass(frozen=True)
class ObjectStore:
    """An S3-compatible server with one bucket."""

    endpoint: str
    bucket: str

    @property
    def storage_options(self) -> dict[str, Any]:
        """What ``fsspec`` needs to reach it."""
        return {
            "key": "testing",
            "secret": "testing",
            "client_kwargs": {"endpoint_url": self.endpoint, "region_name": "eu-central-1"},
            "skip_instance_cache": True,
        }


def _binary(name: str, folders: Sequence[str] = ()) -> str:
    found = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None:
        pytest.fail(f"{name} is not installed; run `make services` and try again", pytrace=False)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _folder(owner: str | None) -> Iterator[Path]:
    # Not pytest's tmp_path: the server's own user must be able to walk to it.
    folder = Path(tempfile.mkdtemp(prefix="services-"))
    try:
        if owner is not None:
            shutil.chown(folder, owner, owner)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owner(name: str) -> str | None:
    """The user a server runs as: database servers refuse root."""
    return name if os.geteuid() == 0 else None


@contextmanager
def _running(
    command: Sequence[str], log: Path, ready: Callable[[], object], owner: str | None
) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            user=owner,
            group=owner,
            cwd="/",
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                ready()
                break
            except Exception as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    tail = log.read_text(errors="replace")[-2000:]
                    pytest.fail(f"{command[0]} did not start: {error}\n{tail}", pytrace=False)
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _run(command: Sequence[str], owner: str | None) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, user=owner, group=owner, cwd="/", timeout=120
    )
    if done.returncode:
        pytest.fail(f"{command[0]} failed:\n{done.stdout[-1000:]}\n{done.stderr[-1000:]}", pytrace=False)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Service]:
    """A PostgreSQL of its own."""
    import psycopg2

    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    initdb, postgres = _binary("initdb", folders), _binary("postgres", folders)
    owner, port = _owner("postgres"), _free_port()
    service = Service(port, "deepchecks", "secret", "postgres")
    with _folder(owner) as folder:
        data = str(folder / "data")
        _run([initdb, "-D", data, "-U", service.user, "-A", "trust", "-E", "UTF8", "--no-sync"], owner)
        settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
        # SIGTERM waits for clients; tests leave none, and the fixture kills what stays.
        command = [postgres, "-D", data, *(part for setting in settings for part in ("-c", setting))]

        def ready() -> None:
            psycopg2.connect(f"postgresql://{service.login}").close()

        with _running(command, folder / "log", ready, owner):
            yield service


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[Service]:
    """A MariaDB of its own, which speaks MySQL."""
    import pymysql

    install, mariadbd = _binary("mariadb-install-db"), _binary("mariadbd")
    owner, port = _owner("mysql"), _free_port()
    service = Service(port, "deepchecks", "secret", "warehouse")
    with _folder(owner) as folder:
        data = str(folder / "data")
        _run(
            [
                install,
                "--no-defaults",
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            owner,
        )
        start = folder / "start.sql"
        start.write_text(
            # One statement a line is what an init file takes.
            f"CREATE DATABASE {service.database};\n"
            f"CREATE USER {service.user}@'127.0.0.1' IDENTIFIED BY '{service.password}';\n"
            f"GRANT ALL ON *.* TO {service.user}@'127.0.0.1';\n"
        )
        start.chmod(0o644)
        command = [
            mariadbd,
            "--no-defaults",
            f"--datadir={data}",
            f"--port={port}",
            "--bind-address=127.0.0.1",
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            f"--init-file={start}",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
        ]

        def ready() -> None:
            pymysql.connect(
                host=service.host,
                port=port,
                user=service.user,
                password=service.password,
                database=service.database,
            ).close()

        with _running(command, folder / "log", ready, owner):
            yield service


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Service]:
    """A Redis of its own, in memory."""
    binary, port = _binary("redis-server"), _free_port()
    service = Service(port, database="0")
    with _folder(None) as folder:
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

        def ready() -> None:
            with socket.create_connection((service.host, port), timeout=1) as talk:
                talk.sendall(b"PING\r\n")
                if not talk.recv(16).startswith(b"+PONG"):
                    raise ConnectionError("no PONG")

        with _running([*command, "--dir", str(folder)], folder / "log", ready, None):
            yield service


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """moto's S3 over HTTP, with a bucket ``rows``."""
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        store = ObjectStore(f"http://{host}:{port}", "rows")
        fsspec.filesystem("s3", **store.storage_options).mkdir(store.bucket)
        yield store
    finally:
        server.stop()
