# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""DAG files are parsed every few seconds: importing what they import must stay cheap.

Airflow itself may import some of the heavy libraries (2.11 does); only what comes on top counts.
"""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING

import pytest

from tests.packaging.processes import ROOT, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = "airflow_provider_deepchecks"
HEAVY = {
    "pandas",
    "pyarrow",
    "polars",
    "numpy",
    "requests",
    "fastapi",
    "uvicorn",
    "sklearn",
    "duckdb",
    "s3fs",
}
#: What any DAG with a deferrable operator imports of Airflow.
AIRFLOW_ALONE = (
    "from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, BaseSensorOperator, XCom\n"
    "from airflow.triggers.base import BaseTrigger, TriggerEvent\n"
)


def dag_modules() -> list[str]:
    """The modules that DAG files, the scheduler's provider manager and the triggerer import."""
    folders = ("hooks", "links", "operators", "sensors", "triggers")
    files = [path for folder in folders for path in (ROOT / PACKAGE / folder).rglob("*.py")]
    files += [ROOT / PACKAGE / name for name in ("__init__.py", "connection.py", "get_provider_info.py")]
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    return sorted(name.removesuffix(".__init__") for name in names)


def heavy_imports(python: Path, modules: list[str]) -> dict[str, list[str]]:
    """Import the modules one after the other in a new process: module -> heavy libraries that it loaded."""
    code = f"""
import importlib, json, sys
{AIRFLOW_ALONE}
found = {{}}
for module in {modules}:
    before = {{name.split(".")[0] for name in sys.modules}}
    importlib.import_module(module)
    added = {{name.split(".")[0] for name in sys.modules}} - before
    if heavy := added & {HEAVY}:
        found[module] = sorted(heavy)
print(json.dumps(found))
"""
    found: dict[str, list[str]] = json.loads(run(python, "-c", code).splitlines()[-1])
    return found


def test_measure_sees_heavy_imports(clean_python: Path) -> None:
    found = heavy_imports(clean_python, ["airflow_provider_deepchecks.client.transport", "polars"])
    assert found["polars"] == ["polars"]
    assert set(found) <= {"airflow_provider_deepchecks.client.transport", "polars"}


def test_dag_files_import_nothing_heavy(clean_python: Path) -> None:
    modules = dag_modules()
    assert "airflow_provider_deepchecks.operators.log_batch" in modules
    assert heavy_imports(clean_python, modules) == {}


def imports(node: ast.AST, *, for_types: bool = True) -> Iterator[str]:
    """Names of the modules imported anywhere below ``node``; without those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield str(child.module)
        elif for_types or not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from imports(child, for_types=for_types)


def parsed(folder: str = ".") -> dict[str, ast.Module]:
    """The package's modules below a folder: path -> syntax tree."""
    files = (ROOT / PACKAGE / folder).rglob("*.py")
    return {str(path.relative_to(ROOT / PACKAGE)): ast.parse(path.read_text()) for path in files}


def test_one_module_imports_the_http_library() -> None:
    using = [
        path
        for path, module in parsed().items()
        if any(name.split(".")[0] == "requests" for name in imports(module, for_types=False))
    ]
    assert using == ["client/transport.py"]


#: Folder -> what the folder's modules must not know.
LAYERS = {
    "client": ("airflow", "pyarrow", "polars", "pandas", f"{PACKAGE}.records", f"{PACKAGE}.delivery"),
    "records": (
        "airflow",
        "requests",
        "httpx",
        f"{PACKAGE}.delivery",
        f"{PACKAGE}.hooks",
        f"{PACKAGE}.operators",
    ),
    "records/casts": tuple(f"{PACKAGE}.records.{part}" for part in ("sources", "checks", "chunks")),
    "records/sources": tuple(f"{PACKAGE}.records.{part}" for part in ("checks", "chunks")),
    "records/chunks": tuple(f"{PACKAGE}.records.{part}" for part in ("sources", "checks")),
    "records/checks": (f"{PACKAGE}.records.sources",),
    "delivery/proof": (f"{PACKAGE}.delivery.upload",),
    "delivery": ("airflow", "requests", "httpx", f"{PACKAGE}.hooks", f"{PACKAGE}.operators"),
}


@pytest.mark.parametrize(("folder", "above"), LAYERS.items())
def test_imports_point_downward(folder: str, above: tuple[str, ...]) -> None:
    wrong = [
        f"{path} imports {name}"
        for path, module in parsed(folder).items()
        for name in imports(module)
        if any(name == layer or name.startswith(f"{layer}.") for layer in above)
    ]
    assert not wrong
