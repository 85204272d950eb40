# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What a DAG file pays for importing an operator, over importing Airflow alone."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from typing import TYPE_CHECKING, Final

from tests.bench.processes import ROOT, airflow_home

if TYPE_CHECKING:
    from tests.bench.results import Results

ROUNDS: Final = 7
MOST: Final = 1.03

#: One process imports both, one after the other: what slows the machine down hits both. Airflow before 3 has
#: no airflow.sdk; there it is what the operator's base class costs.
CODE: Final = """
import time
start = time.perf_counter()
try:
    import airflow.sdk
except ModuleNotFoundError:
    import airflow.models.baseoperator
middle = time.perf_counter()
import airflow_provider_deepchecks.operators.log_batch
print(middle - start, time.perf_counter() - middle)
"""


def measure(results: Results, rows: int) -> None:
    """Benchmark 6."""
    took = []
    with airflow_home() as environment:
        # The first round is not counted: it writes bytecode.
        for _ in range(ROUNDS + 1):
            done = subprocess.run(
                [sys.executable, "-c", CODE],
                check=True,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env=os.environ | environment,
            )
            took.append([float(part) for part in done.stdout.split()[-2:]])
    alone = median(airflow for airflow, _ in took[1:])
    ours = median(added for _, added in took[1:])
    results.ratio(
        "import_over_airflow",
        1 + ours / alone,
        goal=("at most", MOST),
        note=f"{ours * 1000:.0f} ms after the {alone:.2f} s of Airflow itself, {ROUNDS} rounds",
    )
