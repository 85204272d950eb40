# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows from anywhere as Arrow record batches: frames, files, tables and queries."""
