# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The rows of all benchmarks: 20 features (10 floats of full precision, 4 integers, 5 categories, 1 boolean).

Needs only numpy and pandas, since the official client's environment reads this file too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

MODEL: Final = "bench"
VERSION: Final = "v1"
FEATURES: Final = (
    {f"number_{n}": "numeric" for n in range(10)}
    | {f"count_{n}": "integer" for n in range(4)}
    | {f"category_{n}": "categorical" for n in range(5)}
    | {"flag": "boolean"}
)
CATEGORIES: Final = np.array([f"category {n}" for n in range(20)])
#: Epoch seconds of the first row; rows follow one a second, UTC.
START: Final = 1_735_689_600


def columns(rows: int, first: int = 0) -> dict[str, Any]:
    """Plain numpy columns, the same for the same range of rows; categories as numbers of ``CATEGORIES``."""
    random = np.random.default_rng(first)
    made: dict[str, Any] = {"time": START + np.arange(first, first + rows)}
    made["prediction"] = random.standard_normal(rows) * 100
    for name, kind in FEATURES.items():
        if kind == "numeric":
            made[name] = random.standard_normal(rows) * random.choice([0.01, 1.0, 1000.0])
        elif kind == "integer":
            made[name] = random.integers(0, 10_000, rows)
        elif kind == "categorical":
            made[name] = random.integers(0, len(CATEGORIES), rows)
        else:
            made[name] = random.random(rows) < 0.5
    return made


def save(path: Path, rows: int) -> None:
    """Write the rows in a form that any numpy reads, so that all contenders send the very same ones."""
    np.savez(path, **columns(rows))


def load(path: Path) -> tuple[np.ndarray, pd.DataFrame, np.ndarray, np.ndarray]:
    """Read what :func:`save` wrote: sample ids, features, predictions, times in epoch seconds."""
    import pandas as pd

    with np.load(path) as stored:
        made = dict(stored)
    data = {
        name: CATEGORIES[made[name]].astype(object) if kind == "categorical" else made[name]
        for name, kind in FEATURES.items()
    }
    ids = np.array([f"sample-{n:09d}" for n in range(len(made["time"]))])
    return ids, pd.DataFrame(data), made["prediction"], made["time"]
