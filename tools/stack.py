"""The command line behind the Makefile: python -m tools.stack COMMAND --stack NAME."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tools.deployment import Deployment
from tools.errors import ToolError
from tools.paths import ROOT
from tools.stacks import Stack, choose


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (3: another run holds the stack)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(choose(options.stack), options) or 0)
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.stack", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (run, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
        command.add_argument("--stack", default="dev")
        if name == "operator-env":
            command.add_argument("--out", type=Path, required=True, help="file to write, mode 0600")
        if name == "rotate":
            command.add_argument("--finish", action="store_true", help="let the previous passwords in no longer")
        if name == "rotate-ca":
            command.add_argument("--pause", default="", help="yes: end when both are trusted, for clients elsewhere")
        if name == "secrets":
            command.add_argument("--clients-of", default="", help="a canary's: let this stack's app user in, too")
        if name == "down":
            command.add_argument("--confirm", default="", help="the stack's name; needed for every stack but dev")
        if name in ("pulumi", "run"):
            command.add_argument("rest", nargs="+", help="what to run, after --")
    return parser


def _up(stack: Stack, _options: argparse.Namespace) -> int:
    return Deployment(stack).up()


def _preview(stack: Stack, _options: argparse.Namespace) -> int:
    return Deployment(stack).preview()


def _down(stack: Stack, options: argparse.Namespace) -> int:
    if not stack.is_dev and options.confirm != stack.name:
        raise ToolError(
            f"this deletes the stack '{stack.name}' with its data; nothing was changed\n"
            f"  fix: make down STACK={stack.name} CONFIRM={stack.name}"
        )
    return Deployment(stack).down()


def _env(stack: Stack, _options: argparse.Namespace) -> None:
    from infra.contract import render_env  # here: the other commands do without this import's time

    sys.stdout.write(render_env(Deployment(stack).output("contract")))


def _operator_env(stack: Stack, options: argparse.Namespace) -> None:
    from infra.contract import render_env
    from tools.private_files import replace

    replace(options.out.absolute(), render_env(Deployment(stack).output("operatorContract")))


def _secrets(stack: Stack, options: argparse.Namespace) -> None:
    deployment = Deployment(stack)
    deployment.set_secrets()
    if options.clients_of:
        deployment.accept_clients_of(Deployment(choose(options.clients_of)))


def _rotate(stack: Stack, options: argparse.Namespace) -> int:
    deployment = Deployment(stack)
    return deployment.finish_rotation() if options.finish else deployment.rotate()


def _rotate_ca(stack: Stack, options: argparse.Namespace) -> int:
    return Deployment(stack).rotate_authority(pause=options.pause == "yes")


def _pulumi(stack: Stack, options: argparse.Namespace) -> int:
    deployment = Deployment(stack)
    if stack.is_dev:
        deployment.make_ready()
    return subprocess.run(["pulumi", *options.rest], cwd=ROOT, env=deployment.environment, check=False).returncode


def _run(stack: Stack, options: argparse.Namespace) -> int:
    from tools.contract_file import run_module

    contract = Deployment(stack).output("operatorContract")
    module, arguments = options.rest[0], options.rest[1:]
    if module == "smoke_tests":
        from tools import cluster_smoke

        if cluster_smoke.wanted(stack, module, arguments):
            return cluster_smoke.run(stack, contract, arguments)
    return run_module(module, arguments, contract, stack.folder)


COMMANDS = {
    "up": (_up, "deploy what is declared"),
    "preview": (_preview, "show what up would do"),
    "down": (_down, "delete the deployment and its state"),
    "env": (_env, "print the application's contract as KEY=VALUE lines"),
    "operator-env": (_operator_env, "write the operator's contract to a file"),
    "secrets": (_secrets, "generate the passwords that are missing"),
    "rotate": (_rotate, "replace every password without an outage"),
    "rotate-ca": (_rotate_ca, "replace the CA and its key without an outage"),
    "pulumi": (_pulumi, "run any pulumi command with the right environment"),
    "run": (_run, "run a Python module with the operator's contract"),
}

if __name__ == "__main__":
    sys.exit(main())
