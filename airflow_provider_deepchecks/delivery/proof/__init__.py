# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""From a receipt to what became of its rows and labels: stored, refused, waiting or lost."""
