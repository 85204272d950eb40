# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The API token: what it may look like, and how it is kept out of messages."""

from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import quote

from airflow_provider_deepchecks.exceptions import DeepchecksConfigError


def check_token(token: str) -> None:
    """Refuse what cannot be a token, before the HTTP library does it with an error that shows the header.

    :raises DeepchecksConfigError: it is empty, or holds a blank, a control or a non-ASCII character.
    """
    if not token:
        raise DeepchecksConfigError("The API token is empty: put it in the connection's password.")
    if re.match(r"(Basic|Bearer)\s", token):
        raise DeepchecksConfigError(
            "The API token begins with the word Basic or Bearer: put the token alone into the connection's "
            "password."
        )
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise DeepchecksConfigError(
            "The API token holds a blank, a line break or another character that no token has: copy it again "
            "into the connection's password (a trailing newline is the usual cause)."
        )


class Redactor:
    """Takes the token out of words that others chose: a server or a proxy may repeat what it was sent.

    :param token: API token, ``<base64 of the e-mail>.<secret>``.
    """

    def __init__(self, token: str) -> None:
        forms = {token, quote(token, safe=""), b64encode(token.encode()).decode()}
        secret = token.rpartition(".")[2]
        if len(secret) >= 8:
            forms.add(secret)
        # Longest first, or the secret alone would leave the rest of a longer form.
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "***")
        return text
