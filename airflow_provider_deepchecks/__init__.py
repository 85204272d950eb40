# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Apache Airflow provider for Deepchecks Monitoring."""

from __future__ import annotations

__version__ = "0.1.0"
