# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""Paths on object storage, as users write them in arguments."""

from __future__ import annotations

from typing import Any

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError


def storage_path(path: object, conn_id: str | None = None) -> Any:
    """Give a path on object storage its Airflow connection; leave a local path as it is.

    :param path: path, URI (the connection may stand before ``@``: ``s3://my_conn@bucket/key``) or
        ObjectStoragePath.
    :param conn_id: Airflow connection of the storage.
    :raises DeepchecksConfigError: Airflow knows no storage of this scheme.
    """
    if not isinstance(path, str) or "://" not in path:
        return path
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        # Airflow 2.11 takes a given None for an answer, whatever stands before the @.
        found = ObjectStoragePath(path) if conn_id is None else ObjectStoragePath(path, conn_id=conn_id)
        found.fs  # noqa: B018 - which is when Airflow looks for the storage's provider
    except (ValueError, ImportError) as error:
        scheme = path.partition("://")[0]
        raise DeepchecksConfigError(
            f"{path}: Airflow cannot open {scheme}:// ({error}). Install the provider that brings it, as "
            "apache-airflow-providers-amazon[s3fs] for s3:// or apache-airflow-providers-google for gs://."
        ) from error
    return found
