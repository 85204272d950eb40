# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The wheel holds the package and nothing else, and Airflow finds the provider in it; the archive of the
sources holds all that make needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from typing import TYPE_CHECKING
from zipfile import ZipFile

from tests.packaging.processes import ROOT, run

if TYPE_CHECKING:
    from pathlib import Path

DISTRIBUTION = "airflow-provider-deepchecks"
PACKAGE = "airflow_provider_deepchecks"


def test_wheel_holds_the_package_and_its_metadata_only(wheel: Path, sources: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    package = {str(path.relative_to(sources)) for path in (sources / PACKAGE).rglob("*") if path.is_file()}
    metadata = {name for name in names if re.match(rf"{PACKAGE}-[^/]+\.dist-info/", name)}
    assert names - metadata == package
    assert {name.partition("/")[2] for name in metadata} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }
    assert f"{PACKAGE}/py.typed" in names


def test_wheel_tells_airflow_and_pytest_where_to_look(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        text = archive.read(entry_points).decode()
        metadata = archive.read(entry_points.replace("entry_points.txt", "METADATA")).decode()
    assert f"[apache_airflow_provider]\nprovider_info = {PACKAGE}.get_provider_info:get_provider_info" in text
    assert f"[pytest11]\ndeepchecks = {PACKAGE}.local_server.pytest_plugin" in text
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nClassifier: Framework :: Apache Airflow :: Provider\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata


def test_source_archive_can_be_made(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True, timeout=120, cwd=ROOT)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        archive.extractall(tmp_path, filter="data")
    # Only what it would do. The make that runs the tests has told its own arguments in the environment.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--dry-run", "demo", "test"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=built.with_name(built.name.removesuffix(".tar.gz")),
        env=plain,
    )
    assert done.returncode == 0, done.stderr


def test_airflow_shows_the_provider(clean_python: Path) -> None:
    airflow = clean_python.with_name("airflow")
    provider = json.loads(run(airflow, "providers", "get", DISTRIBUTION, "--output", "json"))
    hooks = json.loads(run(airflow, "providers", "hooks", "--output", "json"))
    (told,) = provider if isinstance(provider, list) else [provider]
    assert told["Provider"] == DISTRIBUTION
    assert told["Version"] == version(DISTRIBUTION)
    (hook,) = (hook for hook in hooks if hook["package_name"] == DISTRIBUTION)
    assert hook["connection_type"] == "deepchecks"
    assert hook["class"] == f"{PACKAGE}.hooks.deepchecks.DeepchecksHook"


def test_environment_is_consistent(clean_python: Path) -> None:
    """The dependencies agree with Airflow's, and the package is complete without extras."""
    installed = run(
        clean_python,
        "-c",
        "import importlib.metadata as m; print(*(d.metadata['Name'].lower() for d in m.distributions()))",
    ).split()
    assert DISTRIBUTION in installed
    assert not {"pytest", "moto", "scikit-learn"} & set(installed)


def test_local_server_without_its_extra_says_what_to_install(clean_python: Path) -> None:
    told = run(
        clean_python,
        "-c",
        "import runpy, sys\n"
        "sys.stderr = sys.stdout\n"
        "sys.modules['fastapi'] = sys.modules['uvicorn'] = sys.modules['fastjsonschema'] = None\n"
        "try: runpy.run_module('airflow_provider_deepchecks.local_server', run_name='__main__')\n"
        "except SystemExit as error: print(error)",
    )
    assert "airflow-provider-deepchecks[local-server]" in told
