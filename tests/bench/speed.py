# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows per second of the official client, of ours, and of the floor: same rows, same sink, taking turns."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from airflow_provider_deepchecks.local_server import Options, ServerProcess
from tests.bench.processes import ROOT, Sink, Worker
from tests.bench.rows import FEATURES, MODEL, VERSION, save

if TYPE_CHECKING:
    from tests.bench.results import Results

OFFICIAL: Final = ROOT / ".venv/official-client"
#: The combination that installs and imports; pkg_resources went from setuptools 81 on.
OFFICIAL_REQUIREMENTS: Final = (
    "deepchecks-client==0.19.2",
    "scikit-learn==1.4.2",
    "pandas==2.1.4",
    "numpy<2",
    "category-encoders<2.7",
    "setuptools<81",
)
#: Rows of one turn at most: the official client needs four to eight seconds for them.
MOST_ROWS: Final = 100_000
ROUNDS: Final = 5
CONTENDERS = ("official_client", "ours", "floor")
#: Goals.
LEAST_RATIO: Final = 20.0
MOST_OVER_FLOOR: Final = 1.5


def measure(results: Results, rows: int) -> None:
    """Benchmarks 1 and 2."""
    rows = min(rows, MOST_ROWS)
    python = official_environment()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "rows.npz"
        save(path, rows)
        server = stack.enter_context(ServerProcess(Options(one_model=False)))
        server.create_model(MODEL, "regression", version=VERSION, features=FEATURES)
        sink = stack.enter_context(Sink(server))
        workers = {
            name: stack.enter_context(
                Worker(
                    python if name == "official_client" else sys.executable,
                    Path(__file__).with_name("contender.py"),
                    *(name, sink.url, server.token, path),
                )
            )
            for name in CONTENDERS
        }
        for worker in workers.values():
            worker.line()
        # The first round warms up imports, connections and memory. Its rows are counted, the others' bytes.
        sizes = {}
        for name, worker in workers.items():
            before = sink.received("count")
            worker.ask()
            after = sink.received("trust")
            sizes[name] = after[0] - before[0]
            if after[1] - before[1] != rows:
                raise RuntimeError(f"{name} sent {after[1] - before[1]} of {rows} rows")
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(ROUNDS):
            for name, worker in workers.items():
                before = sink.received()
                seconds[name].append(float(worker.ask()))
                if sink.received()[0] - before[0] != sizes[name]:
                    raise RuntimeError(f"{name} did not send the same rows again")
    middle = {name: median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        spread = f"{rows / max(times):,.0f} to {rows / min(times):,.0f}"
        results.rows_per_second(name, rows / middle[name], note=f"{rows:,} rows, {ROUNDS} rounds: {spread}")
    results.ratio(
        "ours_over_official", middle["official_client"] / middle["ours"], goal=("at least", LEAST_RATIO)
    )
    results.ratio("time_over_floor", middle["ours"] / middle["floor"], goal=("at most", MOST_OVER_FLOOR))


def official_environment() -> Path:
    """Python of an environment that holds the official client; made when missing."""
    python = OFFICIAL / "bin/python"
    done = OFFICIAL / ".installed"
    if done.exists() and done.read_text() == "\n".join(OFFICIAL_REQUIREMENTS):
        return python
    uv = os.environ.get("DEEPCHECKS_TEST_UV") or shutil.which("uv") or ROOT / ".venv/uv/bin/uv"
    # Its pandas has wheels up to Python 3.12; 3.11 is what it was tried with.
    interpreter = shutil.which("python3.11") or sys.executable
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", interpreter, OFFICIAL], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "-p", python, *OFFICIAL_REQUIREMENTS], check=True)
    done.write_text("\n".join(OFFICIAL_REQUIREMENTS))
    return python
