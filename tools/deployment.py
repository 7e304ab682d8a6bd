"""What is done to a stack: prepare, up, preview, down, and reading its outputs."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from tools import checkpoint
from tools.engine import find_engine
from tools.errors import ToolError
from tools.locks import clear_dead_locks
from tools.passwords import (
    GENERATION_KEY,
    NEXT_KEYS,
    PASSWORD_KEYS,
    PREVIOUS_KEYS,
    SHARED_KEY,
    USERS,
    generate,
    missing_passwords,
)
from tools.paths import ROOT
from tools.private_files import private_folder
from tools.pulumi_cli import call
from tools.pulumi_environment import backend_folder, ensure_passphrase, environment
from tools.runs import only_one, run_pulumi
from tools.stack_config import read_config, refresh_copy
from tools.stacks import PROJECT, Stack

# Plain lines without dots, no outputs (they are `make env`'s), and no look for plugins before the program names them.
QUIET = ["--non-interactive", "--suppress-progress", "--skip-plugin-pre-install"]
# Of a change of CA that interrupted another one: three are usual.
MOST_STEPS = 6
IDENTITY = "pulumi-python:dynamic/stack:Identity"
APPLY = ["--yes", "--skip-preview", "--suppress-outputs", *QUIET]


class Deployment:
    """A stack with the engine that serves it. Raises ToolError when there is no engine or no backend."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.backend = backend_folder(stack, os.environ)
        self.environment = environment(stack, find_engine(), os.environ, read_config(stack.committed_config))

    @property
    def exists(self) -> bool:
        """Whether the stack has a state. Unknown (True) where only pulumi can tell."""
        return self.backend is None or checkpoint.exists(self.backend, self.stack.name)

    def up(self) -> int:
        """Make what is declared; finish what an interrupted run began. Returns pulumi's exit code."""
        started = time.monotonic()
        with self._held("up"):
            self._prepare()
            code = self._clear_pending() or self._apply()
            if code == 0:
                self._record_cluster()
        if code == 0:
            name = self.stack.name
            print(f"stack '{name}' is up after {time.monotonic() - started:.1f} s; next: make smoke STACK={name}")
        return code

    def _record_cluster(self) -> None:
        """On Kubernetes: from the first `up` on, the stack belongs to the cluster that it was made on."""
        config = read_config(self.stack.config).get("config") or {}
        if config.get(f"{PROJECT}:target") != "kubernetes" or config.get(f"{PROJECT}:cluster"):
            return
        found = call(["stack", "output", "cluster"], self.environment).strip()
        call(["config", "set", "cluster", found], self.environment)
        print(f"recorded in {self.stack.config.name}: cluster {found}; an `up` against another one is refused")

    def preview(self) -> int:
        """Show what `up` would do. Returns pulumi's exit code."""
        with self._held("preview"):
            self._prepare()
            return self._run("preview", ["preview", *QUIET])

    def down(self) -> int:
        """Delete everything the stack made, then its state. Its configuration and passwords stay.

        Raises ToolError when something of it is left.
        """
        name = self.stack.name
        with self._held("down"):
            self._refuse_protected()
            if self.exists and (code := self._finish_killed_run() or self._run("down", ["destroy", *APPLY])):
                return code
            self._refuse_leftovers()
            if not self.exists:
                print(f"stack '{name}' is not up: nothing to do")
                return 0
            call(["stack", "rm", "--yes", "--preserve-config"], self.environment)
            print(f"stack '{name}' is gone")
        return 0

    def _refuse_protected(self) -> None:
        """The engine would list every resource, and name commands that leave the stack's file as it is."""
        stack, declared = self.stack, (read_config(self.stack.config).get("config") or {}).get(f"{PROJECT}:protect")
        kept = checkpoint.protected(self.backend, stack.name) if self.backend else []
        if not kept and (self.backend or str(declared).lower() != "true"):
            return
        confirm = "" if stack.is_dev else f" CONFIRM={stack.name}"
        steps = [
            f"set `{PROJECT}:protect: false` in {stack.committed_config.name}",
            f"make up STACK={stack.name}",
            f"make down STACK={stack.name}{confirm}",
        ]
        raise ToolError(
            f"stack '{stack.name}' is protected: {', '.join(kept) or 'its data and identity'} may not be deleted; "
            f"nothing was changed\n  fix: {', then '.join(steps if str(declared).lower() == 'true' else steps[1:])}"
        )

    def _refuse_leftovers(self) -> None:
        """Whatever became of the state: a stack that is gone serves nobody."""
        from tools import leftovers  # it imports this module's users

        if ended := leftovers.end_nodes(self.stack):
            print(f"ended and deleted {', '.join(ended)}, of which the state knew nothing")
        if left := leftovers.left_of(self.stack):
            commands = " && ".join(left)
            raise ToolError(
                f"of stack '{self.stack.name}' something is left that its state does not know\n"
                f"  fix: {commands}; then make down STACK={self.stack.name}"
            )

    def set_secrets(self) -> None:
        """Generate the passwords that are missing, the stack first if it is."""
        with self._held("secrets"):
            if self.stack.is_dev:
                self._prepare()
                return
            self._init()
            keys = missing_passwords(read_config(self.stack.config))
            generate(keys, self._store)
            print(f"set: {', '.join(keys)}" if keys else "every password is set already")

    def accept_clients_of(self, production: Deployment) -> None:
        """A canary's: let production's `app` user in, by the password in production's stack outputs.

        Raises ToolError when production is not up.
        """
        password = production.output("contract")["REDIS_PASSWORD"]
        with self._held("secrets"):
            known = json.loads(call(["config", "--json", "--show-secrets"], self.environment))
            names = f"stack '{self.stack.name}' accepts the app user of stack '{production.stack.name}'"
            if known.get(SHARED_KEY, {}).get("value") == password:
                print(f"{names} already")
                return
            self._store(SHARED_KEY, password)
            print(f"{names} from the next `make up STACK={self.stack.name}` on")

    def rotate(self) -> int:
        """Replace every password while clients go on: let the next one in everywhere, then use it. Twice `up`.

        The previous ones stay valid until `finish_rotation`. Killed anywhere, it goes on where it was.
        """
        with self._held("rotate"):
            self._prepare()
            self._take_for_next()
            if self._configured(PREVIOUS_KEYS) and not self._configured(NEXT_KEYS):
                raise ToolError(
                    f"the last rotation of stack '{self.stack.name}' still lets the previous passwords in; nothing was "
                    f"changed\n  fix: make rotate-finish STACK={self.stack.name}, once every client has the new ones"
                )
            code = self._announce_next_passwords() or self._use_next_passwords()
        if code == 0:
            name = self.stack.name
            print(f"both passwords of every user work now; move the clients (make -s env STACK={name}), then")
            print(f"  make rotate-finish STACK={name}")
        return code

    def finish_rotation(self) -> int:
        """Let the previous passwords in no longer."""
        with self._held("rotate"):
            self._prepare()
            if self._configured(NEXT_KEYS):
                raise ToolError(
                    f"a rotation of stack '{self.stack.name}' is under way; nothing was changed\n"
                    f"  fix: make rotate STACK={self.stack.name}, which goes on where it was"
                )
            if not self._configured(PREVIOUS_KEYS):
                print("no previous password is let in: nothing to do")
                return 0
            # `rotate` may have been killed in its last `up`: some nodes may still show others the previous ones.
            if code := self._apply():
                return code
            call(["config", "rm-all", *self._configured(PREVIOUS_KEYS)], self.environment)
            return self._apply()

    def rotate_authority(self, *, pause: bool = False) -> int:
        """Another CA with another key, or one of the user's that was declared: trusted too, signing, trusted alone.

        An `up` each. `pause`: end after the first, for clients that have to be given the file. Killed anywhere, it goes
        on where it was.
        """
        name = self.stack.name
        with self._held("rotate-ca"):
            self._prepare()
            before = self._authority()
            if not before:
                raise ToolError(
                    f"stack '{name}' has no CA: it has no TLS, or is not up; nothing was changed\n"
                    f"  fix: set tls to true, then make up STACK={name}"
                )
            wanted = self._wanted_generation()
            if before["settled"] and int(before["made"]) == wanted and not before["own"]:
                wanted += 1
                call(["config", "set", GENERATION_KEY, str(wanted)], self.environment)
            for _ in range(MOST_STEPS):
                if code := self._apply():
                    return code
                now = self._authority()
                if before["settled"] and now["settled"] and now["certificate"] == before["certificate"]:
                    raise ToolError(
                        f"the CA of stack '{name}' is yours and is not made here; nothing was changed\n"
                        f"  fix: set caCertificate and caKey to another one, then make rotate-ca STACK={name}"
                    )
                print(f"stack '{name}' {_told(now)}", flush=True)
                if now["settled"]:
                    break
                if pause and now["successor_certificate"]:
                    print(f"give clients elsewhere the file of REDIS_TLS_CA_FILE, then make rotate-ca STACK={name}")
                    break
        return 0

    def _wanted_generation(self) -> int:
        return int((read_config(self.stack.config).get("config") or {}).get(GENERATION_KEY) or 0)

    def _authority(self) -> dict[str, Any]:
        """What the state says of the CA, without its key; nothing where there is none."""
        known = self._resource(":Authority")
        return {"settled": True, "made": 0, "own": False} | known if known else {}

    def _announce_next_passwords(self) -> int:
        if not self._configured(PREVIOUS_KEYS):
            generate([key for key in NEXT_KEYS if key not in self._configured(NEXT_KEYS)], self._store)
        elif self._lets_next_in():
            return 0  # an interrupted rotation was past this
        return self._apply()

    def _take_for_next(self) -> None:
        """A password that was changed in the configuration, unknown to the nodes, is the next one: let it in first."""
        in_use = self._known_to_nodes("passwords")
        if not in_use:
            return
        values = json.loads(call(["config", "--json", "--show-secrets"], self.environment))
        for user, key, upcoming, previous in zip(USERS, PASSWORD_KEYS, NEXT_KEYS, PREVIOUS_KEYS, strict=True):
            declared, used = values[key]["value"], in_use[user]
            if declared != used and used != values.get(previous, {}).get("value"):
                # In this order an interruption loses no password.
                self._store(upcoming, declared)
                self._store(key, used)

    def _lets_next_in(self) -> bool:
        """Whether every next password was let in by an `up` before."""
        accepted = self._known_to_nodes("accepted")
        values = json.loads(call(["config", "--json", "--show-secrets"], self.environment))
        waiting = ((user, values[key]["value"]) for user, key in zip(USERS, NEXT_KEYS, strict=True) if key in values)
        return not accepted or all(password in accepted[user] for user, password in waiting)

    def _known_to_nodes(self, what: str) -> dict[str, Any]:
        """What the last `up` gave the nodes, by user: `passwords` or `accepted`; nothing when that is not known."""
        known = self._resource(IDENTITY)
        return dict(json.loads(known[what]["plaintext"])) if known else {}

    def _resource(self, kind: str) -> dict[str, Any]:
        """The outputs of the one resource whose type ends so; nothing where there is none."""
        if not self.exists:
            return {}
        try:
            state = json.loads(call(["stack", "export", "--show-secrets"], self.environment))
        except ToolError:
            return {}  # no stack yet
        for resource in (state.get("deployment") or {}).get("resources") or []:
            if resource["type"].endswith(kind):
                return dict(resource["outputs"])
        return {}

    def _use_next_passwords(self) -> int:
        values = json.loads(call(["config", "--json", "--show-secrets"], self.environment))
        for key, upcoming, previous in zip(PASSWORD_KEYS, NEXT_KEYS, PREVIOUS_KEYS, strict=True):
            if upcoming in values:
                # In this order an interruption loses no password; the last step makes the pair done.
                if values[key]["value"] != values[upcoming]["value"]:
                    self._store(previous, values[key]["value"])
                    self._store(key, values[upcoming]["value"])
                call(["config", "rm", upcoming], self.environment)
        return self._apply()

    def _configured(self, keys: Sequence[str]) -> list[str]:
        return [key for key in keys if key in (read_config(self.stack.config).get("config") or {})]

    def output(self, name: str) -> dict[str, str]:
        """A stack output that is a mapping, secrets in the clear. Raises ToolError when the stack is not up."""
        absent = ToolError(f"stack '{self.stack.name}' is not up\n  fix: make up STACK={self.stack.name}")
        if not self.exists:
            raise absent
        outputs = json.loads(call(["stack", "output", "--json", "--show-secrets"], self.environment))
        if name not in outputs:
            raise absent
        return {str(key): str(value) for key, value in outputs[name].items()}

    def make_ready(self) -> None:
        """Prepare the stack for a pulumi command that the user chose."""
        with self._held("prepare"):
            self._prepare()

    @contextmanager
    def _held(self, what: str) -> Iterator[None]:
        from tools import leftovers  # it imports this module's users

        with only_one(self.stack.folder, self.stack.name, f"{what} {self.stack.name}"):
            leftovers.refuse_moved(self.stack, linked=what == "down")
            if self.backend:
                checkpoint.mend(self.backend)
                files = checkpoint.lock_files(self.backend, self.stack.name)
                clear_dead_locks(files, self.stack.name, lambda: call(["cancel", "--yes"], self.environment))
            yield

    def _prepare(self) -> None:
        """Everything that must be there before the program runs: for dev we make it, for others we look."""
        if not self.stack.is_dev:
            _require_passwords(self.stack)
            if not self.exists or self.backend is None:
                self._init()  # `down` ends a stack as a whole
            return
        backend = private_folder(self.stack.state / "pulumi")
        exists = checkpoint.exists(backend, self.stack.name)
        ensure_passphrase(self.stack, exists)
        copy = self.stack.committed_config, self.stack.config, checkpoint.salt(backend, self.stack.name)
        config = refresh_copy(*copy)
        if not exists:
            self._init()
        keys = missing_passwords(config)
        if keys:
            print(f"stack '{self.stack.name}': generating {len(keys)} passwords ...", file=sys.stderr)
            generate(keys, self._store)

    def _init(self) -> None:
        arguments = ["stack", "init", "--no-select"]
        if provider := read_config(self.stack.config).get("secretsprovider"):
            arguments += ["--secrets-provider", str(provider)]
        folder = self.stack.config.parent
        if folder != ROOT:
            # `stack init` writes the salt beside the project file, whatever configuration file is named.
            shutil.copyfile(ROOT / "Pulumi.yaml", folder / "Pulumi.yaml")
        init = partial(call, arguments, self.environment, place=folder)
        if self.stack.is_dev:
            init()
        else:
            _tolerating("already exists", init)

    def _store(self, key: str, password: str) -> None:
        call(["config", "set", "--secret", key], self.environment, secret_input=password)

    def _apply(self) -> int:
        return self._run("up", ["up", "--refresh", *APPLY])

    def _finish_killed_run(self) -> int:
        """Nodes that a killed `up` was creating are not in the state: adopt them, or `destroy` would leave them."""
        if not self._was_killed():
            return 0
        self._prepare()
        return self._clear_pending() or self._apply()

    def _was_killed(self) -> bool:
        return self.backend is not None and checkpoint.has_pending_operations(self.backend, self.stack.name)

    def _clear_pending(self) -> int:
        """An update killed in the middle leaves operations that `up` would carry along for ever.

        Creating again is safe: every create adopts what is there.
        """
        if not self._was_killed():
            return 0
        print("an earlier run was killed in the middle: looking at what is there first ...", file=sys.stderr)
        return self._run("up", ["refresh", "--clear-pending-creates", *APPLY])

    def _run(self, what: str, arguments: list[str]) -> int:
        what = f"{what} {self.stack.name}"
        return run_pulumi(["pulumi", *arguments], self.environment, ROOT, self.stack.folder, what)


def _told(authority: dict[str, Any]) -> str:
    if authority["successor_certificate"]:
        return "trusts the next CA, too"
    return "has certificates of the next CA" if authority["retired"] else "trusts the new CA alone"


def _require_passwords(stack: Stack) -> None:
    missing = missing_passwords(read_config(stack.config))
    if missing:
        raise ToolError(
            f"stack '{stack.name}' lacks {', '.join(missing)}; nothing was changed\n"
            f"  fix: make secrets STACK={stack.name} (generates them, encrypted, into {stack.config.name})"
        )


def _tolerating(harmless: str, action: Callable[[], object]) -> None:
    try:
        action()
    except ToolError as error:
        if harmless not in str(error):
            raise
