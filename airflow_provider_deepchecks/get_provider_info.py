# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""What Airflow reads about this provider, without importing any of it."""

from __future__ import annotations

from typing import Any

from airflow_provider_deepchecks import connection

_INTEGRATION = "Deepchecks Monitoring"
_PACKAGE = "airflow_provider_deepchecks"


def get_provider_info() -> dict[str, Any]:
    """The provider's entry point."""
    return {
        "package-name": "airflow-provider-deepchecks",
        "name": _INTEGRATION,
        "description": "`Deepchecks Monitoring <https://docs.deepchecks.com/monitoring/stable/>`__: upload "
        "predictions and labels from a DAG, every row accounted for.\n",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://docs.deepchecks.com/monitoring/stable/",
                "tags": ["service"],
            }
        ],
        "hooks": _modules("hooks.deepchecks"),
        "operators": _modules("operators.log_batch", "operators.log_labels"),
        "sensors": _modules("sensors.label_coverage", "sensors.pending_rows"),
        "triggers": _modules("triggers.pending_rows"),
        "extra-links": [f"{_PACKAGE}.links.deepchecks.DeepchecksModelLink"],
        "connection-types": [
            {
                "connection-type": connection.CONN_TYPE,
                "hook-class-name": f"{_PACKAGE}.hooks.deepchecks.DeepchecksHook",
                "hook-name": connection.HOOK_NAME,
                "conn-fields": connection.conn_fields(),
                "ui-field-behaviour": {
                    name.replace("_", "-"): value for name, value in connection.ui_field_behaviour().items()
                },
            }
        ],
    }


def _modules(*names: str) -> list[dict[str, Any]]:
    modules = [f"{_PACKAGE}.{name}" for name in names]
    return [{"integration-name": _INTEGRATION, "python-modules": modules}]
