# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""How much of the rate limit an upload uses, in real minutes against a stand-in with a small limit."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from airflow_provider_deepchecks.client.api import DeepchecksClient
from airflow_provider_deepchecks.client.settings import ClientSettings
from airflow_provider_deepchecks.local_server import LocalServer, Options
from tests.bench.processes import Worker, airflow_home
from tests.bench.rows import FEATURES, MODEL, VERSION
from tests.bench.warehouse import parquet

if TYPE_CHECKING:
    from tests.bench.results import Results

#: Rows per minute of the stand-in, which takes them within a few seconds.
LIMIT: Final = 30_000
#: Minutes that are used up before the last one.
FULL_MINUTES: Final = 2
LEAST_SHARE: Final = 0.97


def measure(results: Results, rows: int) -> None:
    """Benchmark 4."""
    total = LIMIT * FULL_MINUTES + LIMIT // 2
    with ExitStack() as stack:
        environment = stack.enter_context(airflow_home())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        parquet(folder / "rows.parquet", total)
        server = stack.enter_context(LocalServer(Options(one_model=False, rows_per_minute=LIMIT)))
        version = server.create_model(MODEL, "regression", version=VERSION, features=FEATURES)
        client = stack.enter_context(DeepchecksClient(ClientSettings(server.url, server.token)))
        counts: list[tuple[int, int]] = []
        over = Event()

        def watch() -> None:
            while not over.wait(0.2):
                counts.append((int(time.time() // 60), client.count_samples(version.id)))

        source = {"data": str(folder / "rows.parquet")}
        job = json.dumps({"url": server.url, "token": server.token, "source": source})
        watcher = Thread(target=watch)
        watcher.start()
        try:
            with Worker(sys.executable, "-m", "tests.bench.upload", job, environment=environment) as worker:
                json.loads(worker.line())
        finally:
            over.set()
            watcher.join()
        stored = client.count_samples(version.id)
        uploads = [exchange for exchange in server.exchanges if exchange.path.endswith("/data")]
    if stored != total:
        raise RuntimeError(f"{stored} of {total} rows were stored")
    # Rows stored by the end of each minute -> rows of the minute.
    ends = [count for _, count in sorted({minute: count for minute, count in counts if count}.items())]
    used = [end - before for before, end in zip([0, *ends], ends, strict=False)]
    full = used[:-1]
    refused = sum(exchange.status == 413 for exchange in uploads)
    results.ratio(
        "cap_share",
        sum(full) / (LIMIT * len(full)),
        goal=("at least", LEAST_SHARE),
        note=f"{LIMIT:,} rows per minute; by minute: {', '.join(f'{count:,}' for count in used)}; "
        f"{refused} of {len(uploads)} requests were cut by the limit",
    )
