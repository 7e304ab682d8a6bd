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

Each stack has one file, `Pulumi.<stack>.yaml`, with its settings under `redis-sentinel:`. They are read once, strictly,
before anything is changed: an unknown key, a wrong type, white space around a value or two settings that contradict
each other stop the run, and every problem is reported in one go with the command that fixes it.

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

Booleans are `true` or `false`; numbers are plain decimal digits. Checked across settings as well:

- `quorum` is at least the majority of `sentinels` and at most their number;
- `failoverTimeoutMs` is at least twice `downAfterMs`;
- `parallelSyncs` and `minReplicasToWrite` are at most `replicas`;
- on target process, `maxmemory` is at most the machine's memory;
- the ports `dataPort` to `dataPort` + `replicas` and `sentinelPort` to `sentinelPort` + `sentinels` - 1 exist and do
  not overlap.

## Secrets

{users} are the users of every node, each with a password of its own. No password has a default.

{secrets}

Each is {rule}.

`make secrets STACK=<stack>` generates those that a stack lacks (`make up` does it for dev). To choose one yourself, let
Pulumi ask for it, so that it is in no shell's history:

```sh
pulumi config set --secret appPassword --stack staging
```

A password that is stored in the clear in the stack's file is refused. No message ever shows a password: only its
length.

## Certificates

With `tls: true` each stack has a CA of its own, and every node a certificate of it, with the node's name and address.
All of them live in the stack's state, their keys encrypted. `up` renews what has under a third of its life left and
does nothing before that, so run it at least once in `certificateDays` / 3. Clients trust the file that
`REDIS_TLS_CA_FILE` names.

To bring a CA of your own (a root certificate and its key, EC, RSA or Ed25519, without a passphrase):

```sh
pulumi config set caCertificate --stack staging <ca.crt
pulumi config set --secret caKey --stack staging <ca.key
```

On a running stack a change of CA takes three `up`s, so that every node trusts every other at each moment: the first
makes all nodes trust the new CA as well, the second signs every certificate anew, the third drops the old CA. Give the
clients the new `REDIS_TLS_CA_FILE` between the first and the second.

`make rotate-ca` does the three `up`s, and makes a CA with a new key first where it is the stack's own: the way out when
a key leaked, since the renewal by `up` keeps the key. Clients that read the file that `up` writes, or the Secret that
it updates, notice nothing.
For clients with a copy elsewhere, `make rotate-ca PAUSE=yes` ends after the first `up`; give
them the file and run it again. Killed anywhere, it goes on where it was.

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
