"""The contract from an application's environment, with the old single node as a loud last resort."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from infra.contract import Contract
from infra.problems import ConfigurationError

logger = logging.getLogger(__name__)


def contract_from_env(env: Mapping[str, str], *, fallback_to_standalone: bool = False) -> Contract:
    """Contract.from_env for applications. Raises ConfigurationError with every problem found.

    With `fallback_to_standalone`, an invalid Sentinel configuration is logged as a warning, problem by problem, and
    REDIS_HOST and REDIS_PORT are used alone; the error is raised only when they are invalid too.
    """
    try:
        return Contract.from_env(env)
    except ConfigurationError as error:
        if not fallback_to_standalone:
            raise
        try:
            contract = Contract.from_env({**env, "REDIS_SENTINEL_ENABLED": "false"})
        except ConfigurationError:
            raise error from None
        logger.warning("Sentinel is NOT used, falling back to standalone %s: %s", contract.standalone, error)
        return contract
