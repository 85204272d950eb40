# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What a value means, and how it becomes the wire type where that is certain."""
