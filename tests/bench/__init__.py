# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Benchmarks: ``python -m tests.bench`` measures everything side by side in one run and writes bench.json."""
