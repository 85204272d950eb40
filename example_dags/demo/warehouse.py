# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The warehouse: the flights in a SQLite file, as the example DAGs expect them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"

# SQLite has no type for times: they are text in RFC 3339, UTC, which sorts as the times do.
TABLES = """
CREATE TABLE flight_predictions (
    sample_id TEXT PRIMARY KEY, scheduled_departure TEXT NOT NULL, carrier TEXT, origin TEXT, dest TEXT,
    distance INTEGER, hour INTEGER, weekday INTEGER, dep_delay REAL, temp REAL, wind_speed REAL, precip REAL,
    visib REAL, predicted_arr_delay REAL NOT NULL
);
CREATE INDEX by_scheduled_departure ON flight_predictions (scheduled_departure);
CREATE TABLE flight_arrivals (
    sample_id TEXT PRIMARY KEY, arrived_at TEXT NOT NULL, arr_delay REAL NOT NULL
);
CREATE INDEX by_arrived_at ON flight_arrivals (arrived_at);
"""


@dataclass(frozen=True)
class Day:
    """What the warehouse holds for one day, UTC: what has to be in Deepchecks in the end.

    :param flights: flights scheduled to leave on that day.
    :param departed: those of them that left.
    :param arrived: flights that arrived on that day, whenever they left.
    :param labeled: flights of that day whose delay was known at its end.
    """

    date: date
    flights: int
    departed: int
    arrived: int
    labeled: int


def load(path: Path) -> None:
    """Make the file anew from ``example_dags/data``."""
    import pyarrow.parquet as pq

    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as warehouse, warehouse:
        warehouse.executescript(TABLES)
        for table in ("flight_predictions", "flight_arrivals"):
            rows = pq.read_table(DATA / f"{table}.parquet").to_pylist()
            for row in rows:
                for column in row.keys() & {"scheduled_departure", "arrived_at"}:
                    row[column] = row[column].isoformat()
            names = list(rows[0])
            values = ", ".join(f":{name}" for name in names)
            warehouse.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})", rows)


def count(path: Path, day: date, known_until: date | None = None) -> Day:
    """Count a day's rows by SQL of its own, which no code of the DAGs has touched.

    :param known_until: count the delays known by the end of this day; by default of the day itself.
    """
    begin, end = day.isoformat(), (day + timedelta(days=1)).isoformat()
    known = ((known_until or day) + timedelta(days=1)).isoformat()
    came = "arrived_at >= ? AND arrived_at < ?"
    left = "scheduled_departure >= ? AND scheduled_departure < ?"
    with closing(sqlite3.connect(path)) as warehouse:

        def one(sql: str, *parameters: str) -> int:
            return int(warehouse.execute(sql, parameters).fetchone()[0])

        return Day(
            date=day,
            flights=one(f"SELECT count(*) FROM flight_predictions WHERE {left}", begin, end),
            departed=one(f"SELECT count(dep_delay) FROM flight_predictions WHERE {left}", begin, end),
            arrived=one(f"SELECT count(*) FROM flight_arrivals WHERE {came}", begin, end),
            labeled=one(
                "SELECT count(*) FROM flight_predictions JOIN flight_arrivals USING (sample_id)"
                f" WHERE {left} AND arrived_at < ?",
                begin,
                end,
                known,
            ),
        )


def days(first: date, number: int) -> list[date]:
    """So many days from ``first`` on."""
    return [first + timedelta(days=offset) for offset in range(number)]
