"""Who imports whom: what is marked PURE needs no engine, targets have one importer, settings one reader.

The imports are walked in the source, through every module of the project that they reach, and the PURE modules are
imported once for real.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import infra

ROOT = Path(infra.__file__).resolve().parents[1]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
# The modules that the plan calls PURE. Those that are not written yet are not missed.
PLANNED_PURE = (
    "infra.topology",
    "infra.node_config",
    "infra.firewall",
    "infra.monitoring",
    "infra.gateway",
    "infra.contract",
    "rollout.gate",
)


@cache
def sources() -> dict[str, Path]:
    """Every module of the project by its dotted name; a package is known by its own name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


def modules_in(*packages: str) -> list[str]:
    return sorted(name for name in sources() if name.partition(".")[0] in packages)


def pure_modules() -> list[str]:
    return [
        name
        for name in modules_in("infra", "client", "prober", "rollout")
        if (ast.get_docstring(tree_of(name)) or "").startswith("PURE")
    ]


def imports_of(module: str, *, at_once: bool = False) -> set[str]:
    """The dotted names that `module` imports; with `at_once`, only by being imported itself."""
    return set(_imported(tree_of(module), at_once)) - {module}


def _imported(tree: ast.AST, at_once: bool) -> Iterator[str]:
    for node in _nodes(tree, at_once):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "this project imports by full names"
            yield from _with_parents(node.module)
            yield from (name for alias in node.names if (name := f"{node.module}.{alias.name}") in sources())


def _nodes(tree: ast.AST, at_once: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if not (at_once and _runs_later(node)):
            yield from _nodes(node, at_once)


def _runs_later(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test).endswith("TYPE_CHECKING")
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])


def is_pulumi(name: str) -> bool:
    return name.partition(".")[0].partition("_")[0] == "pulumi"


def way_to_pulumi(module: str) -> list[str]:
    """The chain of imports that leads from `module` to pulumi, or [].

    The module itself may not import it anywhere; those that it reaches may do so inside a function, when called.
    """
    ways, seen = [[module]], {module}
    for way in ways:  # grows while it is walked
        for name in sorted(imports_of(way[-1], at_once=way[-1] != module)):
            if is_pulumi(name):
                return [*way, name]
            if name in sources() and name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def test_the_walk_finds_a_way_to_pulumi_that_leads_through_other_modules() -> None:
    assert way_to_pulumi("infra.targets.process_provider")[-1] == "pulumi"
    assert way_to_pulumi("tests.deployment")[:2] == ["tests.deployment", "infra.program"]
    # Imported inside its functions: nothing for those that import the settings, but the settings are not PURE.
    assert way_to_pulumi("infra.settings") == ["infra.settings", "pulumi"]
    assert way_to_pulumi("infra.topology") == []


def test_what_the_plan_calls_pure_is_marked_so() -> None:
    assert [name for name in PLANNED_PURE if name in sources() and name not in pure_modules()] == []
    assert {"infra.topology", "infra.node_config", "infra.contract"} <= set(pure_modules())


@pytest.mark.parametrize("module", pure_modules())
def test_a_pure_module_imports_no_pulumi(module: str) -> None:
    assert not way_to_pulumi(module), " -> ".join(way_to_pulumi(module))


@pytest.mark.parametrize("module", modules_in("client"))
def test_the_client_imports_no_pulumi(module: str) -> None:
    assert not way_to_pulumi(module), " -> ".join(way_to_pulumi(module))


def test_importing_the_pure_modules_for_real_loads_no_pulumi() -> None:
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    if 'pulumi' in sys.modules: sys.exit(name + ' loads pulumi')\n"
    )
    command = [sys.executable, "-c", program, *pure_modules()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stack_of_processes_loads_no_client_of_an_engine_or_a_cluster() -> None:
    """A third of a second in every `up`."""
    loaded = "import sys, infra.program, infra.targets.process; print(*{'docker', 'kubernetes'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_name_under_infra_shadows_the_standard_library() -> None:
    names = {path.stem for path in (ROOT / "infra").rglob("*") if path.suffix == ".py" or path.is_dir()}
    assert "topology" in names
    assert names & (sys.stdlib_module_names - {"__init__"}) == set()


def concrete_targets() -> list[str]:
    """Modules with a class that does what the Target protocol asks."""

    def runs_nodes(node: ast.AST) -> bool:
        methods = {item.name for item in ast.iter_child_nodes(node) if isinstance(item, ast.FunctionDef)}
        return isinstance(node, ast.ClassDef) and methods >= {"address", "deploy"}

    found = [name for name in modules_in("infra") if any(map(runs_nodes, ast.walk(tree_of(name))))]
    return [name for name in found if name != "infra.targets.base"]


def test_only_the_program_imports_concrete_targets() -> None:
    targets = concrete_targets()
    assert "infra.targets.process" in targets
    outside_tests = [name for name in sources() if name.partition(".")[0] != "tests"]
    importers = {name for name in outside_tests if imports_of(name) & set(targets)}
    assert importers == {"infra.program"}


def reads_configuration(module: str) -> bool:
    """Whether a module uses pulumi.Config, pulumi.runtime.config or the variable that both are made from."""

    def names(node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            case ast.Attribute():
                yield ast.unparse(node)
            case ast.Constant(value="PULUMI_CONFIG"):
                yield "pulumi.config"

    every = (name for node in ast.walk(tree_of(module)) for name in names(node))
    return any(
        is_pulumi(name) and "config" in name.replace("get_config", "config").lower().split(".") for name in every
    )


def test_only_the_settings_read_pulumis_configuration() -> None:
    readers = [name for name in sources() if not name.startswith("tests.") and reads_configuration(name)]
    assert readers == ["infra.settings"]


def imports_from_the_project(package: str) -> set[str]:
    """What the modules of `package` import of the other packages."""
    every = {name for module in modules_in(package) for name in imports_of(module) if name in sources()}
    return {name for name in every if name.partition(".")[0] != package}


def test_the_client_knows_nothing_of_infra_but_the_contract() -> None:
    assert imports_from_the_project("client") <= {"infra", "infra.contract", "infra.problems"}


def test_the_smoke_tests_take_a_contract_and_not_a_deployment() -> None:
    allowed = {"infra", "infra.contract", "infra.problems"} | set(modules_in("client"))
    assert modules_in("smoke_tests")
    assert imports_from_the_project("smoke_tests") - allowed == set()
