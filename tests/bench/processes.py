# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The processes of a benchmark: each contender has its own, and so has the server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from airflow_provider_deepchecks.local_server.handle import Handle

ROOT: Final = Path(__file__).parents[2]


class Worker:
    """A process that answers each line with one line."""

    def __init__(self, *command: str | Path, environment: dict[str, str] | None = None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=os.environ | (environment or {}),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def line(self) -> str:
        """The next line it prints.

        :raises RuntimeError: it has ended; with what it wrote to standard error.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise RuntimeError(f"{self._process.args} ended:\n{self._errors.read().decode()[-4000:]}")
        return line.strip()

    def ask(self, line: str = "go") -> str:
        """Write a line, read one."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self.line()


class Sink(Worker):
    """The server that swallows uploads, see ``sink``; all other requests go to ``upstream``."""

    def __init__(self, upstream: Handle) -> None:
        super().__init__(sys.executable, "-m", "tests.bench.sink", upstream.url)
        self.url = f"http://127.0.0.1:{self.line()}"

    def received(self, do: str = "") -> tuple[int, int]:
        """Bytes and rows of uploads so far.

        :param do: ``count`` or ``trust`` the rows from now on.
        """
        size, rows = self.ask(do).split()
        return int(size), int(rows)


@contextmanager
def airflow_home() -> Iterator[dict[str, str]]:
    """An Airflow of its own with a migrated database: the environment of processes that use it."""
    with tempfile.TemporaryDirectory(prefix="bench-airflow-") as folder:
        environment = {
            "AIRFLOW_HOME": folder,
            "AIRFLOW__CORE__DAGS_FOLDER": f"{folder}/dags",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "SCARF_ANALYTICS": "false",
        }
        Path(folder, "dags").mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | environment,
        )
        if done.returncode:
            raise RuntimeError(f"airflow db migrate failed:\n{done.stderr[-4000:]}")
        yield environment
