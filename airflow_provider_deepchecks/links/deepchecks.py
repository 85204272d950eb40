# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The button of a task that opens its model in Deepchecks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from collections.abc import Mapping


def model_url(base_url: str, model_id: int) -> str:
    """The page of one model: the dashboard with only its monitors.

    :param base_url: the server's address as in the connection, without ``/api/v1``.
    """
    return f"{base_url}/dashboard?modelId={model_id:d}"


class DeepchecksModelLink(BaseOperatorLink):
    """Opens the task's model in Deepchecks. Tasks call :meth:`persist` as soon as they know the model."""

    name = "Deepchecks model"

    @property
    def xcom_key(self) -> str:
        """Key of the XCom that holds the address."""
        return "deepchecks_model_url"

    @classmethod
    def persist(cls, context: Mapping[str, Any], base_url: str, model_id: int) -> None:
        """Keep the address for the button, before the long work starts.

        :param context: the task's context.
        :param base_url: the server's address as in the connection, without ``/api/v1``.
        """
        context["ti"].xcom_push(key=cls().xcom_key, value=model_url(base_url, model_id))

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address, empty while the task does not know its model."""
        return str(XCom.get_value(key=self.xcom_key, ti_key=ti_key) or "")
