# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Where the memory benchmark reads from: real databases and a Parquet file, all with like rows."""

from __future__ import annotations

import inspect
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from tests import services
from tests.bench.rows import CATEGORIES, FEATURES, START, columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLE: Final = "predictions"
_PARQUET_ROWS: Final = 100_000


@contextmanager
def postgres(rows: int) -> Iterator[str]:
    """A PostgreSQL with the rows; yields its Airflow connection."""
    import psycopg2

    # A fixture is a generator function in pytest's wrapping.
    with contextmanager(inspect.unwrap(services.postgres_server))() as service:
        made = ", ".join(
            {
                "numeric": f"random() * 1000 AS {name}",
                "integer": f"(random() * 10000)::int AS {name}",
                "categorical": f"'category ' || (random() * 19)::int AS {name}",
                "boolean": f"random() < 0.5 AS {name}",
            }[kind]
            for name, kind in FEATURES.items()
        )
        with closing(psycopg2.connect(f"postgresql://{service.login}")) as connection:
            cursor = connection.cursor()
            cursor.execute(
                f"CREATE UNLOGGED TABLE {TABLE} AS SELECT 'sample-' || lpad(n::text, 9, '0') AS id, "
                f"to_timestamp({START} + n) AS time, random() * 100 AS prediction, {made} "
                f"FROM generate_series(0, {rows - 1}) AS n"
            )
            cursor.execute(f"ALTER TABLE {TABLE} ADD PRIMARY KEY (time, id)")
            cursor.execute(f"ANALYZE {TABLE}")
            connection.commit()
        yield f"postgres://{service.login}"


@contextmanager
def mysql(rows: int) -> Iterator[str]:
    """A MariaDB with the rows; yields its Airflow connection."""
    import pymysql

    with contextmanager(inspect.unwrap(services.mysql_server))() as service:
        types = {
            "numeric": ("DOUBLE", "RAND() * 1000"),
            "integer": ("INT", "FLOOR(RAND() * 10000)"),
            "categorical": ("VARCHAR(20)", "CONCAT('category ', FLOOR(RAND() * 20))"),
            "boolean": ("BOOLEAN", "RAND() < 0.5"),
        }
        declared = ", ".join(f"{name} {types[kind][0]}" for name, kind in FEATURES.items())
        made = ", ".join(types[kind][1] for kind in FEATURES.values())
        with closing(
            pymysql.connect(
                host=service.host,
                port=service.port,
                user=service.user,
                password=service.password,
                database=service.database,
            )
        ) as connection:
            cursor = connection.cursor()
            cursor.execute(
                f"CREATE TABLE {TABLE} (id VARCHAR(20) NOT NULL, time DATETIME NOT NULL, prediction DOUBLE, "
                f"{declared}, PRIMARY KEY (time, id))"
            )
            # In pieces: one transaction of all rows would fill the undo log.
            for first in range(0, rows, 500_000):
                last = min(rows, first + 500_000) - 1
                cursor.execute(
                    f"INSERT INTO {TABLE} SELECT CONCAT('sample-', LPAD(seq, 9, '0')), "
                    f"TIMESTAMPADD(SECOND, {START} + seq, '1970-01-01'), RAND() * 100, {made} "
                    f"FROM seq_{first}_to_{last}"
                )
                connection.commit()
            cursor.execute(f"ANALYZE TABLE {TABLE}")
        yield f"mysql://{service.login}"


def parquet(path: Path, rows: int) -> None:
    """Write the rows to a file, in row groups as large as pandas and Spark write them."""
    writer = None
    for first in range(0, rows, _PARQUET_ROWS):
        count = min(_PARQUET_ROWS, rows - first)
        made = columns(count, first)
        data = {
            "id": [f"sample-{n:09d}" for n in range(first, first + count)],
            "time": pa.array(made.pop("time") * 1_000_000, pa.timestamp("us", tz="UTC")),
        }
        for name, values in made.items():
            data[name] = CATEGORIES[values] if FEATURES.get(name) == "categorical" else values
        table = pa.table(data)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
