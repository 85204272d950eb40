# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""From checked chunks to a receipt: in time order, at the pace of the server, resumable."""
