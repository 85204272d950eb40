# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Code run as Airflow runs a task: in a process forked from one that has used Polars' thread pool."""

from __future__ import annotations

import subprocess
import sys

_FORK = """
import os, signal
import numpy as np, polars as pl

frame = pl.DataFrame({"a": np.arange(1_000_000)})
frame.lazy().group_by(pl.col("a") % 10).agg(pl.len()).collect()  # the parent's thread pool is at work

child = os.fork()
if child:
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
signal.alarm(60)  # ends a child that hangs
"""


def run_forked(code: str) -> None:
    """Run code in a forked child, and fail when it does, or waits for threads that only its parent has.

    :param code: ends with ``os._exit(0)`` when all went well. It has ``os``, ``np`` and ``pl``.
    """
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORK + code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
