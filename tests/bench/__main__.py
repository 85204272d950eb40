# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""``python -m tests.bench --rows N --out bench.json``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import cap, celery, imports, memory, sensors, speed
from tests.bench.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable

BENCHMARKS: dict[str, Callable[[Results, int], None]] = {
    "speed": speed.measure,
    "memory": memory.measure,
    "cap": cap.measure,
    "sensors": sensors.measure,
    "imports": imports.measure,
    "celery": celery.measure,
}


def main() -> None:
    command = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    command.add_argument("--rows", type=int, default=10_000_000, help="rows of the largest upload")
    command.add_argument("--out", type=Path, default=Path("bench.json"))
    command.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    chosen = command.parse_args()
    results = Results()
    for name in chosen.only:
        print(f"{name} ...", flush=True)
        BENCHMARKS[name](results, chosen.rows)
    print(results.table())
    results.write(chosen.out)


if __name__ == "__main__":
    main()
