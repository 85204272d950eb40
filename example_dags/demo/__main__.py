# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""``make demo``: the example DAGs over several days, and the proof that every row is in Deepchecks."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_deepchecks.exceptions import DeepchecksError
from example_dags.demo import ledger, runs, stage, warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_deepchecks.client.api import DeepchecksClient
    from airflow_provider_deepchecks.client.types import WindowCounts
    from example_dags.demo.runs import Run
    from example_dags.demo.warehouse import Day

#: The first day of the flights in example_dags/data.
FIRST_DAY = date(2013, 7, 1)
MOST_DAYS = 14


def window(client: DeepchecksClient, version_id: int, day: date) -> WindowCounts:
    """What the server holds of a day, UTC."""
    start = datetime.combine(day, clock.min, tzinfo=UTC)
    return client.window_counts(version_id, start, start + timedelta(days=1))


def count(flights: Path, day: date, left: Mapping[date, int], known_until: date | None = None) -> Day:
    """What the server is to hold of a day: what the warehouse has, and labels that an earlier demo left.

    :param left: labels of each day that the server held before this demo.
    """
    counted = warehouse.count(flights, day, known_until)
    return replace(counted, labeled=max(counted.labeled, left[day]))


def entry(
    dag_id: str, run: Run, day: Day, client: DeepchecksClient, versions: dict[str, int]
) -> ledger.Entry:
    """The account of one run: its receipt, what the warehouse has, and what the server holds."""
    challenger = dag_id == "flights_gated"
    held = window(client, versions[stage.CHALLENGER if challenger else stage.VERSION], day.date)
    labels = dag_id == "log_flight_delays"
    if labels:
        expected, on_server = day.arrived, (held.labeled, day.labeled)
    else:
        expected = day.departed if challenger else day.flights
        on_server = (held.samples, expected)
    receipt = run.receipt
    return ledger.Entry(
        dag_id=dag_id,
        day=day.date,
        state=run.state,
        expected=expected,
        read=receipt.get("read", 0),
        stored=receipt.get("stored", 0),
        already_stored=receipt.get("already_stored", 0),
        refused=receipt.get("refused", 0),
        quarantined=receipt.get("quarantined", 0),
        labels=receipt.get("sent", 0) if labels else None,
        coverage=held.labeled / held.samples if labels and held.samples else None,
        on_server=on_server,
        seconds=run.seconds,
    )


def run_all(
    flights: Path, left: Mapping[date, int], log: Path, client: DeepchecksClient, versions: dict[str, int]
) -> Iterator[ledger.Entry]:
    """Run day after day, the three DAGs on each, up to the first run that fails."""
    for day in left:
        counted = count(flights, day, left)
        for dag_id in runs.RECEIPTS:
            done = entry(dag_id, runs.run_day(dag_id, day, log), counted, client, versions)
            print(f"  {dag_id} {day}: {done.state}", flush=True)
            yield done
            if done.state != "success":
                return


def final_faults(
    flights: Path, left: Mapping[date, int], client: DeepchecksClient, versions: dict[str, int]
) -> list[str]:
    """Look once more when all is over: late labels must have reached the days before, in both versions."""
    faults = []
    for date_ in left:
        day = count(flights, date_, left, known_until=max(left))
        for version, samples in ((stage.VERSION, day.flights), (stage.CHALLENGER, day.departed)):
            held = window(client, versions[version], date_)
            if (held.samples, held.labeled) != (samples, day.labeled):
                faults.append(
                    f"{date_}, version {version!r}: Deepchecks has {held.samples:,} samples and "
                    f"{held.labeled:,} labels, the warehouse {samples:,} and {day.labeled:,}"
                )
    return faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when every row is accounted for."""
    parser = argparse.ArgumentParser(prog="python -m example_dags.demo", description=__doc__)
    parser.add_argument(
        "--days", type=int, default=4, help=f"days to run, 1 to {MOST_DAYS} (default: %(default)s)"
    )
    parser.add_argument(
        "--home", type=Path, default=stage.ROOT / ".demo" / "demo", help="directory to work in"
    )
    chosen = parser.parse_args(arguments)
    if not 1 <= chosen.days <= MOST_DAYS:
        parser.error(f"--days is 1 to {MOST_DAYS}, not {chosen.days}")
    try:
        return demo(chosen.home, warehouse.days(FIRST_DAY, chosen.days))
    except DeepchecksError as error:
        print(f"The demo cannot go on: {error}", file=sys.stderr)
        return 1


def demo(home: Path, days: Sequence[date]) -> int:
    """Run the DAGs and tell what became of the rows; 0 when every row is accounted for."""

    flights = stage.set_up(home)
    log = home / "airflow.log"
    with stage.deepchecks() as server:
        print(f"Setting up Airflow in {home}, and {server} ...", flush=True)
        stage.migrate(log)
        from airflow_provider_deepchecks.hooks.deepchecks import DeepchecksHook

        with DeepchecksHook().get_conn() as client:
            versions = stage.create_model(client)
            left = {day: window(client, versions[stage.VERSION], day).labeled for day in days}
            entries = list(run_all(flights, left, log, client, versions))
            over = all(entry.state == "success" for entry in entries)
            late = final_faults(flights, left, client, versions) if over else []
    print(f"\n{ledger.table(entries)}\n")
    faults = [f"{e.dag_id} {e.day}: {fault}" for e in entries for fault in e.faults()] + late
    if faults:
        print(
            "NOT every row is accounted for:",
            *(f"  {fault}" for fault in faults),
            f"The log: {log}",
            sep="\n",
        )
        return 1
    print(ledger.summary(entries))
    return 0


if __name__ == "__main__":
    sys.exit(main())
