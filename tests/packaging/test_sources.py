# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Every source file carries its licence, and the changelog knows the version."""

from __future__ import annotations

import re

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
