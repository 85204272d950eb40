# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Peak memory of a whole upload, few rows against many."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_deepchecks.local_server import Options, ServerProcess
from tests.bench import warehouse
from tests.bench.processes import Sink, Worker, airflow_home
from tests.bench.rows import FEATURES, MODEL, VERSION

if TYPE_CHECKING:
    from tests.bench.results import Results

FEW: Final = 100_000
#: MiB that many rows may take more than few.
MOST_GROWTH: Final = 32.0


def measure(results: Results, rows: int) -> None:
    """Benchmark 3."""
    rows = max(rows, FEW)
    with ExitStack() as stack:
        environment = stack.enter_context(airflow_home())
        server = stack.enter_context(ServerProcess(Options(one_model=False)))
        server.create_model(MODEL, "regression", version=VERSION, features=FEATURES)
        sink = stack.enter_context(Sink(server))

        def peak(name: str, rows: int, source: dict[str, Any], connection: str = "") -> float:
            job = json.dumps({"url": sink.url, "token": server.token, "source": source})
            _, before = sink.received()
            with Worker(
                *(sys.executable, "-m", "tests.bench.upload", job),
                environment=environment | {"AIRFLOW_CONN_WAREHOUSE": connection},
            ) as worker:
                done = json.loads(worker.line())
            sent = sink.received()[1] - before
            if sent != rows:
                raise RuntimeError(f"{name}: {sent} of {rows} rows were sent; receipt: {done['receipt']}")
            results.mebibytes(
                f"{name}_{rows}",
                done["peak_mib"],
                note=f"{rows / done['seconds']:,.0f} rows/s with Airflow's start",
            )
            return float(done["peak_mib"])

        def growth(name: str, peaks: list[float]) -> None:
            results.mebibytes(f"rss_growth_{name}", peaks[1] - peaks[0], goal=("at most", MOST_GROWTH))

        for name, filled in (("postgres", warehouse.postgres), ("mysql", warehouse.mysql)):
            with filled(rows) as connection:
                query = f"SELECT * FROM {warehouse.TABLE}"
                few = f"{query} WHERE id < 'sample-{FEW:09d}'"
                growth(
                    name,
                    [
                        peak(name, count, {"sql": sql, "sql_conn_id": "warehouse"}, connection)
                        for count, sql in ((FEW, few), (rows, query))
                    ],
                )
        with tempfile.TemporaryDirectory() as folder:
            peaks = []
            for count in (FEW, rows):
                path = Path(folder) / f"{count}.parquet"
                warehouse.parquet(path, count)
                peaks.append(peak("parquet", count, {"data": str(path)}))
            growth("parquet", peaks)
