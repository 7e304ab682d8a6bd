"""Keys of a test, and a plan that lists them: ci signs the journal, ben and cleo approve."""

from __future__ import annotations

from textwrap import indent

from securesystemslib.signer import CryptoSigner

from rollout.keys import public_pem
from rollout.signing import VARIABLE
from tests.rollout.fakes import PLAN, UNATTENDED

CI, BEN, CLEO, STRANGER = (CryptoSigner.generate_ed25519() for _ in range(4))


def environment(signer: CryptoSigner | None) -> dict[str, str | None]:
    """As an environment secret."""
    return {VARIABLE: signer.private_bytes.decode() if signer else None}


def listed(**signers: CryptoSigner) -> str:
    """As rollout.yaml lists them."""
    keys = "".join(f"    {name}: |\n{indent(public_pem(each), ' ' * 6)}" for name, each in signers.items())
    return f"\n  keys:\n{keys}"


def signed(plan: str = PLAN, approvers: str = "") -> str:
    """The plan with ci's key, and these approvers."""
    approvals = f"approvals:{approvers}" if approvers else ""
    return plan.replace("signing: none\n", f"signing:{listed(ci=CI)}{approvals}")


SIGNED = signed(approvers=listed(ben=BEN, cleo=CLEO))
SIGNED_UNATTENDED = signed(UNATTENDED)
