# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The wheel, and an environment that holds it next to the Airflow under test and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.packaging.processes import ROOT, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the wheel is built from, and of neighbours that must not get into it."""
    source = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "airflow_provider_deepchecks",
        source / "airflow_provider_deepchecks",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("tests", "example_dags"):
        (source / name).mkdir()
        (source / name / "__init__.py").touch()
    return source


@pytest.fixture(scope="session")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    done = subprocess.run(build, check=False, capture_output=True, text=True, timeout=120, cwd=sources)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment with the wheel, its dependencies and the same Airflow as here."""
    uv = os.environ.get("DEEPCHECKS_TEST_UV") or shutil.which("uv") or ROOT / ".venv/uv/bin/uv"
    environment = tmp_path_factory.mktemp("clean") / "venv"
    python = environment / "bin/python"
    run(uv, "venv", "--quiet", "--python", sys.executable, environment)
    run(
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        wheel,
        f"apache-airflow=={version('apache-airflow')}",
    )
    return python
