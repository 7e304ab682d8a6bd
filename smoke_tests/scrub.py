"""PURE  The last line of defence: no password of the contract in any text that leaves the suite."""

from __future__ import annotations

from infra.contract import Contract, OperatorContract

MASK = "***"


class Scrubber:
    """Replaces every password of one contract by `***`."""

    def __init__(self, contract: Contract) -> None:
        users = contract.users if isinstance(contract, OperatorContract) else {}
        secrets = [contract.password, contract.sentinel_password, *users.values()]
        known = {secret.get_secret_value() for secret in secrets} - {""}
        # As repr() spells them too, which exceptions like to do. The longest first: one may contain another.
        spellings = known | {repr(secret)[1:-1] for secret in known}
        self._secrets = sorted(spellings, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def __repr__(self) -> str:
        return f"Scrubber({len(self._secrets)} secrets)"
