# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The example DAGs on a small stage: a warehouse, a Deepchecks server and an Airflow of their own.

``python -m example_dags.demo`` runs them over several days and accounts for every row;
``python -m example_dags.demo.web`` shows them in Airflow's web UI.
"""

from __future__ import annotations
