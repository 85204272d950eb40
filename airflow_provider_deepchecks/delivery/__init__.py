# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Getting rows to the server, and proving that they are there. Knows no Airflow.

``upload`` sends and gives a receipt; ``proof`` decides from the receipt and from looks at the server whether
the rows are in. Uploads use the proof, never the other way round.
"""
