# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Source files carry their licence, the changelog knows the version, nothing was left lying about."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

import airflow_provider_deepchecks
from tests.packaging.processes import ROOT

HEADER = "# SPDX-License-Identifier: Apache-2.0\n# Copyright the airflow-provider-deepchecks authors\n"


def test_every_source_file_has_the_licence_header() -> None:
    files = [
        path
        for folder in ("airflow_provider_deepchecks", "tests", "example_dags")
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 10
    assert not [str(path.relative_to(ROOT)) for path in files if not path.read_text().startswith(HEADER)]


def test_changelog_begins_with_the_version() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == airflow_provider_deepchecks.__version__


@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="no checkout, or no git"
)
def test_only_what_belongs_here_is_tracked() -> None:
    # A checkout may belong to another user than the one who runs its tests.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    tracked = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT).stdout
    files = [ROOT / name for name in tracked.split("\0") if name]
    assert {path.relative_to(ROOT).parts[0] for path in files} == {
        ".ci",
        ".gitignore",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "airflow_provider_deepchecks",
        "example_dags",
        "pyproject.toml",
        "tests",
    }
    assert not [str(path) for path in files if path.exists() and path.stat().st_size > 500_000]
