"""The contract from an application's environment."""

from __future__ import annotations

import logging

import pytest

from client.environment import contract_from_env
from infra.problems import ConfigurationError
from tests.client.fakes import contract

GOOD = contract().to_env()
TWO_SENTINELS = GOOD | {"REDIS_SENTINELS": "10.0.0.1:26379,10.0.0.2:26379"}


def test_a_valid_environment_is_used_as_it_is() -> None:
    assert contract_from_env(GOOD, fallback_to_standalone=True).sentinel_enabled


def test_an_invalid_sentinel_configuration_is_refused_by_default() -> None:
    with pytest.raises(ConfigurationError, match="2 different"):
        contract_from_env(TWO_SENTINELS)


def test_falling_back_to_standalone_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = contract_from_env(TWO_SENTINELS, fallback_to_standalone=True)
    assert not found.sentinel_enabled
    assert "NOT used, falling back to standalone 127.0.0.1:6379" in caplog.text
    assert "2 different" in caplog.text
    assert "marker" not in caplog.text


def test_without_a_valid_standalone_address_the_first_error_stands() -> None:
    with pytest.raises(ConfigurationError, match="2 different"):
        contract_from_env(TWO_SENTINELS | {"REDIS_PORT": "no"}, fallback_to_standalone=True)
