# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Rows against the version's schema: what the server would refuse, lose or choke on."""
