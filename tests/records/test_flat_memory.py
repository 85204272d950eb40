# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Reading and sorting take the same memory for few rows and for many."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet as pq

if TYPE_CHECKING:
    from tests.services import Service

#: DEEPCHECKS_MEMORY_ROWS raises the larger number, for looking at more than a test has time for.
FEW, MANY = 100_000, int(os.environ.get("DEEPCHECKS_MEMORY_ROWS", "500000"))
# The many rows are 100 MiB and more; how far the allocators settle differs between versions of Arrow.
GROWTH_MIB = 48

# Each reading has a process of its own: memory that was freed still counts in the peak of the next one.
CHILD = """
import os, re, sys, json
what, argument, rows = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
from airflow_provider_deepchecks.records.sources.source import open_files, open_query
if what == "files":
    source = open_files([argument])
else:
    import importlib
    module = importlib.import_module(what)
    options, sql, dialect = argument
    source = open_query(lambda: module.connect(**options), sql % rows, dialect=dialect)
batches = source.batches()
if what == "files" and source.untyped is False and argument.endswith("sort.parquet"):
    from airflow_provider_deepchecks.records.order import sort_batches
    batches = sort_batches(batches, memory_bytes=16 * 2**20)
read = sum(batch.num_rows for batch in batches)
assert read == rows, read
# Not ru_maxrss: that begins with what the parent had when it forked.
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024, flush=True)
# As a forked task ends: threads of an old Arrow can abort an interpreter that is taken down.
os._exit(0)
"""

SQL = {
    "postgresql": "SELECT 'id-' || i AS id, TIMESTAMPTZ '2026-01-01' + i * interval '1 s' AS ts, "
    + ", ".join(f"i / {n}.5::float8 AS f{n}" for n in range(1, 15))
    + ", "
    + ", ".join(f"'class' || i %% {n} AS c{n}" for n in range(2, 6))
    + " FROM generate_series(1, %d) i",
    "mysql": "SELECT CONCAT('id-', seq) AS id, TIMESTAMP '2026-01-01 00:00:00' + INTERVAL seq SECOND AS ts, "
    + ", ".join(f"seq / {n}.5e0 AS f{n}" for n in range(1, 15))
    + ", "
    + ", ".join(f"CONCAT('class', seq %% {n}) AS c{n}" for n in range(2, 6))
    + " FROM seq_1_to_%d",
}


def peak(what: str, argument: object, rows: int) -> int:
    """MiB that a process needs at most to read so many rows."""
    command = [sys.executable, "-c", CHILD, what, json.dumps(argument), str(rows)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def check(name: str, few: int, many: int) -> None:
    print(f"\n{name}: {few} MiB for {FEW:,} rows, {many} MiB for {MANY:,}")
    assert many - few <= GROWTH_MIB


def table_of(rows: int) -> pa.Table:
    random = np.random.default_rng(3)
    columns = {
        "_dc_sample_id": pa.array([f"id-{n}" for n in range(rows)]),
        "__time": pa.array(random.integers(0, 2 * 10**15, rows)).cast(pa.timestamp("us", "UTC")),
    }
    columns |= {f"f{n}": pa.array(random.random(rows)) for n in range(14)}
    columns |= {f"c{n}": pa.array([f"class{m % 20}" for m in range(rows)]) for n in range(4)}
    return pa.table(columns)


@pytest.mark.parametrize("kind", ["rows.parquet", "sort.parquet", "rows.csv", "rows.jsonl.gz"])
def test_files_take_the_same_memory_for_many_rows(kind: str, tmp_path: Path) -> None:
    peaks = []
    for rows in (FEW, MANY):
        path = tmp_path / f"{rows}-{kind}"
        table = table_of(rows)
        if kind.endswith(".parquet"):
            # One row group, the worst case.
            pq.write_table(table, path, row_group_size=rows)
        elif kind == "rows.csv":
            arrow_csv.write_csv(table, path)
        else:
            with gzip.open(path, "wb", compresslevel=1) as file:
                for batch in table.to_batches(max_chunksize=10_000):
                    lines = (json.dumps(row, default=str) for row in batch.to_pylist())
                    file.write("".join(line + "\n" for line in lines).encode())
        del table
        peaks.append(peak("files", str(path), rows))
    check(kind, *peaks)


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg", "MySQLdb"])
def test_databases_take_the_same_memory_for_many_rows(
    driver: str, postgres_server: Service, mysql_server: Service
) -> None:
    service = mysql_server if driver == "MySQLdb" else postgres_server
    options = {"host": service.host, "port": service.port, "user": service.user, "password": service.password}
    options["database" if driver == "MySQLdb" else "dbname"] = service.database
    dialect = "mysql" if driver == "MySQLdb" else "postgresql"
    few, many = (peak(driver, [options, SQL[dialect], dialect], rows) for rows in (FEW, MANY))
    check(driver, few, many)
