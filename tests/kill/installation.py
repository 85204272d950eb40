# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A whole Airflow of its own, on PostgreSQL: scheduler and workers as in an installation, on both lines."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.request import urlopen

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.services import Service

ROOT = Path(__file__).parents[2]
AIRFLOW_2 = version("apache-airflow").startswith("2.")
#: Whether Airflow keeps state of tasks over their attempts.
HAS_TASK_STATE = not AIRFLOW_2 and tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 3)


@dataclass
class TaskRun:
    """The last attempt of a task.

    :param result: what it returned.
    """

    state: str | None
    tries: int
    result: Any = None


@dataclass
class Installation:
    """The Airflow; a context manager that starts and ends its processes.

    :param database: PostgreSQL that holds a database for it.
    :param home: empty directory.
    :param dags: folder of DAG files.
    :param environment: what its processes see besides: connections, settings.
    :param executor: Airflow's name of it.
    :param triggerer: start one, for tasks that defer.
    """

    database: Service
    home: Path
    dags: Path
    environment: Mapping[str, str]
    executor: str = "LocalExecutor"
    triggerer: bool = False
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        self._name = f"airflow_{uuid.uuid4().hex[:12]}"
        with self._session("postgres") as cursor:
            cursor.execute(f"CREATE DATABASE {self._name}")
        self._settings = self._make_settings()
        with ExitStack() as stack:
            stack.callback(self._end)
            self.run("db", "migrate")
            if not AIRFLOW_2:
                self.start("api-server", "api-server", "--workers", "1")
                # Workers ask it for their tasks, and on a busy machine give up before it is there.
                self._wait_for_api()
                self.start("dag-processor", "dag-processor")
            self.start("scheduler", "scheduler")
            if self.triggerer:
                self.start("triggerer", "triggerer", "--skip-serve-logs")
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _make_settings(self) -> dict[str, str]:
        login = f"{self.database.user}:{self.database.password}@{self.database.host}:{self.database.port}"
        url, port = f"postgresql+psycopg2://{login}/{self._name}", free_port()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return inherited | {
            "AIRFLOW_HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join(path),
            # Airflow starts its parts by the command's name.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": self.executor,
            "AIRFLOW__CORE__PARALLELISM": "3",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__API__SECRET_KEY": "only-for-these-tests",
            "AIRFLOW__WEBSERVER__SECRET_KEY": "only-for-these-tests",
            "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-these-tests-" * 4,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{login}/{self._name}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "SCARF_ANALYTICS": "false",
            # A dead worker is found out within seconds instead of minutes: the names of 3.x, those of 2.11.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "30",
            "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
            # The machine is busy: a slow heartbeat of the scheduler is no reason to take its tasks away.
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "120",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
            **self.environment,
        }

    # -- processes -------------------------------------------------------------------------------------------

    def start(self, name: str, *arguments: str, settings: Mapping[str, str] | None = None) -> None:
        """Start ``airflow`` with these arguments; its output goes to a file of this name."""
        with (self.home / f"{name}.log").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "airflow", *arguments],
                env=self._settings | dict(settings or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """End a process and all that it has started, at once, as a machine that goes down does."""
        process = self.processes.pop(name)
        doomed = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()

    def _wait_for_api(self) -> None:
        url = f"{self._settings['AIRFLOW__API__BASE_URL']}/api/v2/version"
        deadline = time.monotonic() + 120
        while True:
            self.check()
            try:
                urlopen(url, timeout=10).close()
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{url}: {error}\n{self.tail('api-server')}") from error
            time.sleep(0.2)

    def check(self) -> None:
        """Fail when a process has ended."""
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} has ended:\n{self.tail(name)}"

    def run(self, *arguments: str) -> None:
        """Run an Airflow command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self._settings,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd=self.home,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]

    def _end(self) -> None:
        started = []
        for process in self.processes.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                started += psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 15
        for process in self.processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for child in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self.processes.clear()

    def add_connection(self, conn_id: str, conn_type: str, host: str, password: str) -> None:
        """Keep a connection in the metadata database, where each process has to ask Airflow for it."""
        self.query(
            "INSERT INTO connection (conn_id, conn_type, host, password, is_encrypted, is_extra_encrypted) "
            "VALUES (%s, %s, %s, %s, false, false) RETURNING id",
            *(conn_id, conn_type, host, password),
        )

    def trigger(self, dag_id: str, params: Mapping[str, object], run_id: str = "by-hand") -> None:
        """Start a run of a DAG as soon as Airflow knows the DAG."""
        deadline = time.monotonic() + 120
        while not self.query("SELECT dag_id FROM serialized_dag WHERE dag_id = %s", dag_id):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"Airflow does not know {dag_id}: {self.query('SELECT * FROM import_error')}"
                )
            time.sleep(0.3)
        self.run("dags", "trigger", dag_id, "--run-id", run_id, "--conf", json.dumps(params))

    # -- what it has done ------------------------------------------------------------------------------------

    def wait(self, dag_id: str, seconds: float) -> str:
        """Wait until all runs of a DAG are over; ``success`` or ``failed``."""
        deadline = time.monotonic() + seconds
        while True:
            states = {row[0] for row in self.query("SELECT state FROM dag_run WHERE dag_id = %s", dag_id)}
            if states and states <= {"success", "failed"}:
                return "failed" if "failed" in states else "success"
            self.check()
            if time.monotonic() > deadline:
                tails = "\n".join(f"== {name}\n{self.tail(name)}" for name in self.processes)
                raise TimeoutError(f"{dag_id} is not over after {seconds} s: {self.tasks(dag_id)}\n{tails}")
            time.sleep(0.3)

    def tasks(self, dag_id: str) -> dict[tuple[str, int], TaskRun]:
        """The tasks of a DAG's only run, by id and map index."""
        found = {
            (task, index): TaskRun(state, tries)
            for task, index, state, tries in self.query(
                "SELECT task_id, map_index, state, try_number FROM task_instance WHERE dag_id = %s", dag_id
            )
        }
        query = "SELECT task_id, map_index, value FROM xcom WHERE dag_id = %s AND key = 'return_value'"
        for task, index, value in self.query(query, dag_id):
            # Airflow 2 keeps bytes; Airflow 3 a JSON text in a JSON column.
            while isinstance(value, (bytes, memoryview, str)):
                value = json.loads(bytes(value) if not isinstance(value, str) else value)
            found[task, index].result = value
        return found

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the metadata database."""
        with self._session(self._name) as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    @contextmanager
    def _session(self, name: str) -> Iterator[Any]:
        import psycopg2

        with closing(
            psycopg2.connect(
                host=self.database.host,
                port=self.database.port,
                user=self.database.user,
                password=self.database.password,
                dbname=name,
            )
        ) as connection:
            connection.autocommit = True
            yield connection.cursor()

    def tail(self, name: str) -> str:
        """The end of a process's output."""
        return (self.home / f"{name}.log").read_text(errors="replace")[-3000:]

    def log_with(self, text: str, task_id: str, seconds: float = 30.0) -> str:
        """What all attempts of a task wrote, once this text is in it, or after so long: Airflow's logs have a
        way of their own to the file, and the state of the task can be there first."""
        deadline = time.monotonic() + seconds
        while text not in (logs := self.task_logs(task_id)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return logs

    def task_logs(self, task_id: str) -> str:
        """What all attempts of a task wrote."""
        found = sorted(path for path in (self.home / "logs").rglob("*.log") if task_id in str(path))
        return "\n".join(path.read_text(errors="replace") for path in found)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
