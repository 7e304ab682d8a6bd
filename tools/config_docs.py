"""Writes what is said elsewhere about the settings from their model: docs/configuration.md and Pulumi.yaml's schema.

`python -m tools.config_docs --write` brings both up to date; `--check` exits with 1 when one is not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from infra.setting_reader import Option
from infra.setting_rules import Password
from infra.settings import OPTIONS, USERS

ROOT = Path(__file__).resolve().parent.parent
SCHEMA_MARK = "config:\n"

PAGE = """\
# Configuration

<!-- Generated from infra/settings.py by `python -m tools.config_docs --write`; edit the model, not this page. -->

Each stack has one file, `Pulumi.<stack>.yaml`, with its settings under `redis-sentinel:`. The settings are checked
before anything changes. An unknown key, a wrong type, white space around a value, or two settings that contradict each
other stop the run. Every problem is reported at once, each with the command that fixes it.

## Settings

{settings}

## How to set them

On the dev stack, edit `Pulumi.dev.yaml`:

```yaml
config:
  redis-sentinel:target: process
  redis-sentinel:sentinels: "5"
```

On every other stack:

```sh
pulumi config set sentinels 5 --stack staging
```

Booleans are `true` or `false`. Numbers are plain decimal digits. These rules hold across settings:

- `quorum` is at least the majority of `sentinels` and at most their number.
- `failoverTimeoutMs` is at least twice `downAfterMs`.
- `parallelSyncs` and `minReplicasToWrite` are at most `replicas`.
- On target process, `maxmemory` is at most the machine's memory.
- The ports `dataPort` to `dataPort` + `replicas` and `sentinelPort` to `sentinelPort` + `sentinels` - 1 exist and do
  not overlap.

## Secrets

Every node has the users {users}. Each user has a password of its own. No password has a default.

{secrets}

Each password is {rule}.

`make secrets STACK=<stack>` generates the passwords that a stack lacks. For dev, `make up` does this. To choose a
password yourself, let Pulumi ask for it. It is then in no shell's history:

```sh
pulumi config set --secret appPassword --stack staging
```

A password that is stored in the clear in the stack's file is refused. Messages show only a password's length.

## Certificates

With `tls: true` each stack has a CA of its own. The CA signs a certificate for every node, with the node's name and
address. Certificates and keys are in the stack's state, and the keys are encrypted there. Clients trust the file that
`REDIS_TLS_CA_FILE` names.

`up` renews a certificate when less than a third of its life is left. Before that it leaves the certificate alone. Run
`up` at least once in `certificateDays` / 3.

To use a CA of your own, set a root certificate and its key (EC, RSA or Ed25519, without a passphrase):

```sh
pulumi config set caCertificate --stack staging <ca.crt
pulumi config set --secret caKey --stack staging <ca.key
```

On a running stack a change of CA takes three `up`s, so that all nodes trust each other at every moment:

1. All nodes trust the new CA as well. Now give the clients the new `REDIS_TLS_CA_FILE`.
2. The new CA signs every certificate.
3. The nodes no longer trust the old CA.

`make rotate-ca` does these three `up`s. If the CA is the stack's own, the command first makes one with a new key. Use
it when a key leaked: the renewal by `up` keeps the key. Clients that read the file that `up` writes, or the Secret
that `up` updates, notice nothing. For clients with a copy elsewhere, run `make rotate-ca PAUSE=yes`. It ends after the
first `up`. Give the clients the file and run the command again. If the command is killed, run it again and it
continues.

## What a mistake looks like

```text
{example}
```
"""


def page() -> str:
    """docs/configuration.md, whole."""
    secrets = [option for option in OPTIONS if isinstance(option.rule, Password)]
    return PAGE.format(
        settings=_table(("key", "type", "default", "accepts", "what it is"), map(_row, _plain())),
        users=", ".join(f"`{user}`" for user in USERS),
        secrets=_table(("key", "what it is"), ((f"`{option.key}`", option.description) for option in secrets)),
        rule=secrets[0].rule.describe(),
        example=_example(),
    )


def schema() -> str:
    """The `config` section of Pulumi.yaml: the options with a fixed default, as the engine takes them."""
    # A default of a secret would be one in the clear.
    with_default = (option for option in OPTIONS if option.default is not None and not option.secret)
    return SCHEMA_MARK + "".join(map(_schema_entry, with_default))


def _schema_entry(option: Option) -> str:
    # A JSON string is a YAML string; texts, because the engine takes a default without a type for a text.
    description, default = json.dumps(option.description), json.dumps(option.default)
    return f"  {option.key}:\n    description: {description}\n    default: {default}\n"


def project_file(current: str) -> str:
    """Pulumi.yaml with its schema brought up to date; the schema is the file's last section."""
    head, mark, _ = current.partition("\n" + SCHEMA_MARK)
    if not mark:
        raise SystemExit("Pulumi.yaml has no `config:` section to bring up to date; add `config:` as its last line")
    return head + "\n" + schema()


def _plain() -> Iterator[Option]:
    return (option for option in OPTIONS if not isinstance(option.rule, Password))


def _row(option: Option) -> tuple[str, ...]:
    return f"`{option.key}`", option.rule.kind, _default(option), option.rule.describe(), option.description


def _default(option: Option) -> str:
    if option.derived:
        return option.derived.text
    if option.default == "":
        return "none"
    return "required" if option.default is None else f"`{option.default}`"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = (head, tuple("---" for _ in head), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _example() -> str:
    """A real message, so that the page shows what the code says."""
    from infra.problems import ConfigurationError
    from infra.settings import parse

    passwords = {f"{user}Password": f"{user}-8Jv2nQx5Lw7Rb3" for user in USERS}
    try:
        parse("staging", passwords | {"target": "process", "sentinels": "4", "replicsa": "3", "appPassword": "short"})
    except ConfigurationError as error:
        return str(error)
    raise AssertionError("the example configuration is meant to be refused")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.config_docs", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="exit with 1 when a file is out of date")
    action.add_argument("--write", action="store_true", help="bring the files up to date")
    write = parser.parse_args(arguments).write

    project = ROOT / "Pulumi.yaml"
    wanted = {ROOT / "docs/configuration.md": page(), project: project_file(project.read_text(encoding="utf-8"))}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        name = path.relative_to(ROOT)
        if write:
            path.write_text(wanted[path], encoding="utf-8")
            print(f"{name}: written")
        else:
            print(f"{name} is out of date; run `python -m tools.config_docs --write`", file=sys.stderr)
    return 1 if stale and not write else 0


if __name__ == "__main__":
    sys.exit(main())
