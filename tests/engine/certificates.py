"""A running stack's certificates: those that its nodes show, and those in Pulumi's memory, which a test may age."""

from __future__ import annotations

import json
import ssl
from datetime import timedelta
from typing import Any

from infra import certificates
from infra.certificates import KeyPair
from infra.contract import NodeAddress
from tests.docker.stack import OwnStack


def nodes(stack: OwnStack) -> list[NodeAddress]:
    contract = stack.contract()
    sentinels = [NodeAddress(f"sentinel-{i}", endpoint) for i, endpoint in enumerate(contract.sentinels)]
    return [*contract.nodes, *sentinels]


def served(node: NodeAddress) -> str:
    """The certificate that a node shows."""
    return ssl.get_server_certificate((node.endpoint.host, node.endpoint.port), timeout=2).strip()


def exported(stack: OwnStack) -> dict[str, Any]:
    """Pulumi's state of the stack, in the clear."""
    target = stack.home / "state.json"
    stack.make("pulumi", f"ARGS=stack export --show-secrets --file {target}")
    state: dict[str, Any] = json.loads(target.read_text())
    target.unlink()
    return state


def resources(state: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in state["deployment"]["resources"] if one["type"].endswith(f":{kind}")]


def authority(stack: OwnStack) -> KeyPair:
    """The stack's own authority, its key included."""
    outputs = resources(exported(stack), "Authority")[0]["outputs"]
    return KeyPair(outputs["certificate"], json.loads(outputs["key"]["plaintext"]))


def let_certificates_age(stack: OwnStack, days: int) -> None:
    """In Pulumi's memory every certificate is `days` older. The nodes keep theirs: only what is due depends on it."""
    state = exported(stack)
    signer = resources(state, "Authority")[0]["outputs"]
    aged = resources(state, "Certificate")
    assert len(aged) == 6
    for one in aged:
        outputs = one["outputs"]
        key = KeyPair(signer["certificate"], json.loads(signer["key"]["plaintext"]))
        issued_at = certificates.utc_now() - timedelta(days=days)
        outputs["certificate"] = certificates.issue(key, outputs["names"], int(outputs["days"]), issued_at).certificate
    target = stack.home / "aged.json"
    target.write_text(json.dumps(state))
    stack.make("pulumi", f"ARGS=stack import --file {target}")
    target.unlink()
