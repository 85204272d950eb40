# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Checked rows, cut and encoded as the bodies of requests."""
