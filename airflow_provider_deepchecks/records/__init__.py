# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""From any source to checked chunks of JSON. Knows no Airflow and no network.

The way of a row: ``sources`` reads Arrow batches, ``casts`` gives values their wire types, ``checks`` finds
the rows that cannot be sent, ``order`` sorts the others, ``chunks`` cuts and encodes them. ``intake`` puts
reading and checking together, and ``quarantine`` keeps the rows that stay behind.
"""
