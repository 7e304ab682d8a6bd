"""The stack's certificates as Pulumi resources, and the files that nodes get of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from infra import certificates
from infra.settings import Settings
from infra.targets.certificate_provider import SECRET_OUTPUTS, AuthorityProvider, CaFileProvider, CertificateProvider
from infra.topology import Topology

# The names under which a node finds its files (infra/node/lib.sh).
CERTIFICATE_FILE, KEY_FILE, CA_FILE = "node.crt", "node.key", "ca.crt"

TlsFiles = Mapping[str, pulumi.Output[dict[str, str]]]
"""A node's TLS files by name, for each node by its name; a secret as a whole."""


class _Authority(Resource, module="tls", name="Authority"):
    certificate: pulumi.Output[str]
    key: pulumi.Output[str]
    trust: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        outputs = (
            *("certificate", "key", "own", "successor_certificate", "successor_key", "own_successor"),
            *("retired", "made", "settled", "trust"),
        )
        super().__init__(AuthorityProvider(), name, props | dict.fromkeys(outputs), opts)


class _Certificate(Resource, module="tls", name="Certificate"):
    certificate: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(CertificateProvider(), name, props | dict.fromkeys(("certificate", "key")), opts)


class _CaFile(Resource, module="tls", name="CaFile"):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(CaFileProvider(), name, props, opts)


def tls_files(
    topology: Topology,
    settings: Settings,
    ca_file: Path | None,
    aliases: Callable[[str], Sequence[pulumi.Input[str]]],
    parent: pulumi.Resource,
    gateway: str | None = None,
) -> TlsFiles:
    """Register the stack's authority and certificates; nothing without TLS.

    `ca_file`: where clients on this machine find what to trust; None without TLS.
    `aliases`: what else an endpoint's host is reached by.
    `gateway`: its address. It passes TLS through, so every data node answers to its names too.
    """
    if ca_file is None:
        return {}
    opts = pulumi.ResourceOptions(parent=parent, additional_secret_outputs=SECRET_OUTPUTS)
    own = _own_authority(settings)
    authority = _Authority(
        "authority",
        {
            "stack": topology.stack,
            "own_certificate": own.certificate if own else "",
            "own_key": pulumi.Output.secret(own.key if own else ""),
            "generation": settings.ca_generation,
        },
        pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(protect=settings.protect)),
    )
    _CaFile("ca-file", {"path": str(ca_file), "text": authority.trust}, pulumi.ResourceOptions(parent=parent))
    shared = (gateway, "gateway", *aliases(gateway), *settings.gateway_names) if gateway else ()
    names = {node.name: (node.endpoint.host, node.name, *aliases(node.endpoint.host)) for node in topology.nodes}
    names |= {node.name: (*names[node.name], *shared) for node in topology.data}
    return {name: _files(name, of_node, settings, authority, opts) for name, of_node in names.items()}


def _files(
    name: str,
    names: Sequence[pulumi.Input[str]],
    settings: Settings,
    authority: _Authority,
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[dict[str, str]]:
    issued = _Certificate(
        f"{name}-certificate",
        {
            "names": list(names),
            "days": settings.certificate_days,
            "ca_certificate": authority.certificate,
            "ca_key": authority.key,
        },
        opts,
    )
    texts = {CERTIFICATE_FILE: issued.certificate, KEY_FILE: issued.key, CA_FILE: authority.trust}
    return pulumi.Output.secret(pulumi.Output.all(**texts))


def _own_authority(settings: Settings) -> certificates.KeyPair | None:
    if not settings.ca_certificate:
        return None
    key = settings.ca_key.get_secret_value()
    return certificates.own_authority(settings.ca_certificate, key, certificates.utc_now())
