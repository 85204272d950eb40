# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A thousand waiting sensors on one real ``airflow triggerer``: do they look on time, and at what cost?"""

from __future__ import annotations

import inspect
import json
import resource
import tempfile
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Final

import psutil

from airflow_provider_deepchecks.delivery.proof.settlement import SettlementRules
from airflow_provider_deepchecks.delivery.proof.watch import ReceiptWatch
from airflow_provider_deepchecks.delivery.receipt import Receipt
from airflow_provider_deepchecks.local_server import Options, ServerProcess
from tests import services
from tests.bench.rows import FEATURES
from tests.kill.installation import Installation

if TYPE_CHECKING:
    from airflow_provider_deepchecks.local_server import CreatedVersion
    from tests.bench.results import Results

MODELS: Final = 20
#: Runs of the DAG, each with a sensor a model.
RUNS: Final = 50
SENSORS: Final = MODELS * RUNS
#: Seconds between two looks.
INTERVAL: Final = 10.0
#: Seconds of looking that are measured.
SECONDS: Final = 65.0
MOST_LATE: Final = 2.0
PATIENCE: Final = 300.0


def measure(results: Results, rows: int) -> None:
    """Benchmark 5."""
    # A triggerer writes a log file for each of its triggers.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-sensors-")))
        server = stack.enter_context(ServerProcess(Options(one_model=False)))
        versions = [
            server.create_model(f"model {n}", "regression", version="v1", features=FEATURES)
            for n in range(MODELS)
        ]
        postgres = stack.enter_context(contextmanager(inspect.unwrap(services.postgres_server))())
        plan = {"runs": RUNS, "triggers": [_trigger(server.url, version) for version in versions]}
        environment = {
            "BENCH_SENSORS": json.dumps(plan),
            "AIRFLOW_CONN_DEEPCHECKS_DEFAULT": json.dumps(
                {"conn_type": "deepchecks", "host": server.url, "password": server.token}
            ),
            "AIRFLOW__TRIGGERER__CAPACITY": f"{SENSORS}",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": f"{SENSORS}",
            "AIRFLOW__SCHEDULER__MAX_DAGRUNS_TO_CREATE_PER_LOOP": f"{RUNS}",
            "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": f"{RUNS}",
        }
        airflow = stack.enter_context(
            Installation(
                postgres, folder / "airflow", Path(__file__).parent / "dags", environment, triggerer=True
            )
        )
        _wait_for_all(airflow)
        processes = [psutil.Process(airflow.processes["triggerer"].pid)]
        processes += processes[0].children(recursive=True)
        before, start = _cpu(processes), time.time()
        time.sleep(SECONDS)
        cpu_share = (_cpu(processes) - before) / SECONDS
        airflow.check()
        end = time.time()
        looks = [[at for at in times if at >= start] for times in _looks(airflow)]
    late = [after - before - INTERVAL for times in looks for before, after in pairwise(times)]
    # A look that has not come by now is late too.
    late += [overdue for times in looks if times and (overdue := end - times[-1] - INTERVAL) > 0]
    if sum(len(times) > 1 for times in looks) != SENSORS:
        raise RuntimeError(f"{sum(len(times) > 1 for times in looks)} of {SENSORS} sensors looked twice")
    percentiles = quantiles(late, n=100)
    results.ratio("poll_late_p50_seconds", percentiles[49])
    results.ratio(
        "poll_late_p95_seconds",
        percentiles[94],
        goal=("at most", MOST_LATE),
        note=f"{len(late):,} looks of {SENSORS:,} sensors every {INTERVAL:g} s; the triggerer's processes "
        f"took {cpu_share:.0%} of a core",
    )
    results.ratio("triggerer_cpu_share", cpu_share)


def _trigger(url: str, version: CreatedVersion) -> dict[str, object]:
    """What a sensor would defer with: a receipt of rows that do not come, and are not given up for lost."""
    now = datetime.now(UTC)
    receipt = Receipt(
        kind="samples",
        server=url,
        model=version.model,
        model_id=version.model_id,
        version=version.name,
        version_id=version.id,
        source="bench",
        started_at=now,
        finished_at=now,
        read=1000,
        sent=1000,
        waiting=1000,
        window_start=now - timedelta(hours=1),
        window_end=now,
    )
    rules = SettlementRules(lost_after=1e6, stall_after=1e6)
    return {
        "watch": ReceiptWatch(receipt.to_dict(), rules).to_dict(),
        "deepchecks_conn_id": "deepchecks_default",
        "poll_interval": INTERVAL,
        "started_at": time.time(),
        "deadline": time.time() + 3_600,
    }


def _wait_for_all(airflow: Installation) -> None:
    """Wait until each sensor has looked."""
    deadline = time.monotonic() + PATIENCE
    while (looked := sum(bool(times) for times in _looks(airflow))) < SENSORS:
        airflow.check()
        if time.monotonic() > deadline:
            states = airflow.query("SELECT state, count(*) FROM task_instance GROUP BY state")
            raise RuntimeError(
                f"{looked} of {SENSORS} sensors have looked; tasks: {states}\n{airflow.tail('triggerer')}"
            )
        time.sleep(2)


def _looks(airflow: Installation) -> list[list[float]]:
    """When each sensor looked (epoch seconds): a look that ends in more waiting is a line of its log."""
    found = []
    for path in (airflow.home / "logs").rglob("*.trigger.*"):
        # The last line may still be in the writing.
        lines = map(json.loads, path.read_text().rpartition("\n")[0].splitlines())
        found.append(
            [
                datetime.fromisoformat(line["timestamp"]).timestamp()
                for line in lines
                if "neither stored nor listed" in line["event"]
            ]
        )
    return found


def _cpu(processes: list[psutil.Process]) -> float:
    """Seconds of CPU that processes have used."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)
