# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Workers that die while they upload: the scheduler's own retry finishes, and every row is in once.

All cases are tasks of one run in a real Airflow (scheduler, LocalExecutor, PostgreSQL); each has a model and
a proxy of its own. ``DEEPCHECKS_KILLS`` adds so many more cases with random moments.
"""

from __future__ import annotations

import json
import os
import random
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_deepchecks.local_server import LocalServer, Options
from tests.kill.installation import HAS_TASK_STATE, Installation, TaskRun
from tests.kill.killing_proxy import Kill, KillingProxy, Moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services import Service

#: Random cases.
KILLS = int(os.environ.get("DEEPCHECKS_KILLS", "1"))
# The same in all test processes of a run, which must agree on what the tests are.
_DRAWN = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID")).randrange(2**31)
SEED = int(os.environ.get("DEEPCHECKS_KILLS_SEED", "0")) or _DRAWN

#: What an attempt logs at its end.
FINISHED = " + 0 waiting, in "
START_MICROSECONDS = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z


@dataclass(frozen=True)
class Case:
    """One upload.

    :param kills: of its workers.
    :param keep: where progress is kept: ``state`` of the task in Airflow, a ``file``, or ``nothing``.
    :param queued: the server queues the rows and stores them later.
    """

    name: str
    kills: tuple[Kill, ...]
    keep: str = "file"
    rows: int = 2_000
    per_send: int = 200
    labels: bool = False
    queued: bool = False
    wide: bool = False
    pace: float = 0.0

    @property
    def knows(self) -> bool:
        """Whether a retry knows how far the attempt before has come."""
        return self.keep == "file" or (self.keep == "state" and HAS_TASK_STATE)


def _random_case(number: int) -> Case:
    rng = random.Random(SEED + number)
    # Five requests and more come before the first row, so a retry dies too.
    kills = tuple(
        Kill(Moment.ANY_TIME, after=rng.uniform(0, longest), whole_worker=rng.random() < 0.2)
        for longest in (1.2, 0.5)[: rng.randint(1, 2)]
    )
    return Case(f"any_time_{number}", kills, keep=rng.choice(["state", "file", "nothing"]), pace=0.1)


CASES = [
    Case("saved_then_intent", (Kill(Moment.SAVED), Kill(Moment.INTENT_WRITTEN, at=8)), keep="state"),
    Case("nothing_kept", (Kill(Moment.SAVED, at=7),), keep="nothing"),
    Case("in_a_queue", (Kill(Moment.SAVED, at=10),), queued=True),
    Case("whole_worker", (Kill(Moment.DURING_REQUEST, whole_worker=True),), keep="state"),
    Case(
        "sorting_then_done",
        (Kill(Moment.SORTING), Kill(Moment.LAST_ACKNOWLEDGED)),
        rows=40_000,
        per_send=10_000,
        wide=True,
    ),
    Case("labels", (Kill(Moment.SAVED),), labels=True),
    *map(_random_case, range(KILLS)),
]

# The first test waits for the run of all cases.
pytestmark = pytest.mark.timeout(600 + 60 * len(CASES))


@dataclass
class Outcome:
    """What became of a case."""

    case: Case
    task: TaskRun
    proxy: KillingProxy
    server: LocalServer
    log: str

    @property
    def finished(self) -> int:
        """Attempts that came to their end: a busy Airflow 2.11 can begin another one after the task is done,
        which starts afresh."""
        return self.log.count(FINISHED)


def _ids(rows: int) -> list[str]:
    return [f"sample {number}" for number in range(rows)]


def _write(path: Path, case: Case) -> None:
    """The rows, in no order."""
    order = list(range(case.rows))
    random.Random(1).shuffle(order)
    ids = _ids(case.rows)
    columns: dict[str, Any] = {
        "id": [ids[number] for number in order],
        "time": pa.array(
            [START_MICROSECONDS + 1_000_000 * number for number in order], pa.timestamp("us", "UTC")
        ),
        "y": [float(number) for number in order],
    }
    if case.wide:
        # More than is sorted in memory, and nothing that a compressed file makes small.
        columns["note"] = [random.Random(number).randbytes(500).hex() for number in order]
    elif not case.labels:
        columns["x"] = [number / 2 for number in order]
    pq.write_table(pa.table(columns), path, row_group_size=max(1, case.rows // 4))


def _prepare(server: LocalServer, case: Case) -> None:
    features = {"note": "text"} if case.wide else {"x": "numeric"}
    made = server.create_model(case.name, "regression", features=features)
    if case.labels:
        samples = [
            {
                "_dc_sample_id": name,
                "_dc_time": "2026-01-01T00:00:00+00:00",
                "_dc_prediction": 0.0,
                "x": 1.0,
            }
            for name in _ids(case.rows)
        ]
        server.call("POST", f"/model-versions/{made.id}/data", samples)


@pytest.fixture(scope="module")
def outcomes(
    postgres_server: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Outcome]]:
    folder = tmp_path_factory.mktemp("kill")
    with ExitStack() as stack:
        at_once = stack.enter_context(LocalServer())
        queued = stack.enter_context(
            LocalServer(Options(one_model=False, consumer=True, consumer_delay=0.2, offset_lag=0.02))
        )
        supervisors: set[int] = set()
        proxies, environment, plan = {}, {}, []
        for case in CASES:
            server = queued if case.queued else at_once
            _prepare(server, case)
            _write(folder / f"{case.name}.parquet", case)
            proxy = KillingProxy(server.url, case.kills, case.rows, supervisors, case.pace)
            proxies[case.name] = stack.enter_context(proxy)
            environment[f"AIRFLOW_CONN_{case.name.upper()}"] = json.dumps(
                {"conn_type": "deepchecks", "host": proxy.url, "password": server.token}
            )
            plan.append(
                {
                    "name": case.name,
                    "data": str(folder / f"{case.name}.parquet"),
                    "durable": case.keep == "state",
                    "checkpoint_path": str(folder / f"{case.name}.json") if case.keep == "file" else None,
                    "per_send": case.per_send,
                    "labels": case.labels,
                }
            )
        environment["KILL_CASES"] = json.dumps(plan)
        airflow = stack.enter_context(
            Installation(postgres_server, folder / "airflow", Path(__file__).parent / "dags", environment)
        )
        supervisors.add(airflow.processes["scheduler"].pid)
        airflow.wait("killed_uploads", 240 + 60 * len(CASES))
        tasks = airflow.tasks("killed_uploads")
        yield {
            case.name: Outcome(
                case,
                tasks[case.name, -1],
                proxies[case.name],
                queued if case.queued else at_once,
                airflow.log_with(FINISHED, case.name),
            )
            for case in CASES
        }


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def outcome(request: pytest.FixtureRequest, outcomes: dict[str, Outcome]) -> Outcome:
    return outcomes[request.param.name]


def test_the_retry_finishes(outcome: Outcome) -> None:
    assert outcome.proxy.errors == []
    assert outcome.proxy.planned == 0, f"a kill did not happen, seed {SEED}"
    assert len(outcome.proxy.killed) == len(outcome.case.kills)
    assert outcome.task.state == "success", f"seed {SEED}\n{outcome.log[-6000:]}"
    # A busy Airflow finds one dead attempt twice, or thinks a living one dead: more tries are fine.
    assert outcome.task.tries >= len(outcome.case.kills) + 1
    assert outcome.finished >= 1


def test_nothing_is_lost_and_nothing_twice(outcome: Outcome) -> None:
    case, server = outcome.case, outcome.server
    if case.labels:
        assert server.labels(case.name) == {name: float(at) for at, name in enumerate(_ids(case.rows))}
        return
    stored = server.stored(case.name, "v1")
    assert {name: row["_dc_prediction"] for name, row in stored.items()} == {
        name: float(at) for at, name in enumerate(_ids(case.rows))
    }
    version = next(
        version["id"]
        for model in server.call("GET", "/available-models")
        for version in model["versions"]
        if model["name"] == case.name
    )
    assert server.call("GET", f"/model-versions/{version}/count-samples")["monitor_count"] == case.rows
    if not case.queued:
        # Sending a row twice changes nothing but leaves a trace in the server's list of errors.
        assert server.errors(case.name) == []


def test_the_receipt_adds_up(outcome: Outcome) -> None:
    receipt = outcome.task.result
    assert receipt["read"] == outcome.case.rows
    assert receipt["stored"] + receipt["already_stored"] == outcome.case.rows, f"seed {SEED}"
    assert (receipt["waiting"], receipt["refused"], receipt["quarantined"]) == (0, 0, 0)
    if outcome.case.knows:
        # What an earlier attempt of the same upload sent is its own.
        assert receipt["already_stored"] == (0 if outcome.finished == 1 else outcome.case.rows)


@pytest.mark.parametrize(
    "outcome", [case for case in CASES if case.knows], indirect=True, ids=lambda case: case.name
)
def test_rows_acknowledged_are_not_sent_again(outcome: Outcome) -> None:
    acknowledged: set[str] = set()
    again = 0
    for request in outcome.proxy.sent:
        again += len(acknowledged.intersection(request.ids))
        if request.acknowledged:
            acknowledged.update(request.ids)
    # Which labels are stored cannot be looked up: those of the request that nobody saw answered go twice.
    unknown = outcome.case.per_send * len(outcome.case.kills) + outcome.case.rows * (outcome.finished - 1)
    assert again <= (unknown if outcome.case.labels else 0)
