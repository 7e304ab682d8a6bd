"""Pulumi's conventions, held in the source: outputs are registered last, and no resource hides inside an `apply`.

A preview does not run an `apply` on a value that is not known yet, so it would not show such a resource.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import infra

SOURCES = sorted(Path(infra.__file__).parent.rglob("*.py"))


def is_component(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        ast.unparse(base).endswith("ComponentResource") for base in node.bases
    )


def registers_outputs_last(component: ast.ClassDef) -> bool:
    """Whether __init__ ends with self.register_outputs(...), and calls it nowhere else."""
    (init,) = (node for node in component.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    calls = [node for node in ast.walk(init) if _calls(node) == "self.register_outputs"]
    last = init.body[-1]
    return isinstance(last, ast.Expr) and calls == [last.value]


def resources_in_apply(tree: ast.AST) -> Iterator[str]:
    """Calls that make a resource in what is handed to an `apply`: a lambda, or a function of the same file."""
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _calls(node).endswith(".apply"):
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                body = functions.get(argument.id, argument) if isinstance(argument, ast.Name) else argument
                yield from (_calls(inner) for inner in ast.walk(body) if _makes_a_resource(inner))


def _makes_a_resource(node: ast.AST) -> bool:
    """Every resource takes options; this project gives them always, for the parent."""
    if not isinstance(node, ast.Call):
        return False
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    options = any(_calls(value).endswith("ResourceOptions") for value in values)
    return options or any(keyword.arg == "opts" for keyword in node.keywords) or "opts" in map(ast.unparse, values)


def _calls(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_resource_is_made_inside_an_apply(path: Path) -> None:
    assert list(resources_in_apply(ast.parse(path.read_text(encoding="utf-8")))) == []


def test_components_register_their_outputs_as_their_last_step() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]
    components = [
        node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and is_component(node)
    ]
    assert "RedisSentinel" in {component.name for component in components}
    assert [component.name for component in components if not registers_outputs_last(component)] == []


HIDDEN = [
    "value.apply(lambda v: Bucket('b', v, opts=options))",
    "value.apply(lambda v: [docker.Container('c', v, pulumi.ResourceOptions(parent=self))])",
    "pulumi.Output.all(a, b).apply(lambda both: Node('n', both, opts))",
    "def make(v):\n    return Bucket('b', v, opts=options)\nvalue.apply(make)",
    "def make(v):\n    return Bucket('b', v, opts=options)\nvalue.apply(func=make)",
]


@pytest.mark.parametrize("source", HIDDEN)
def test_a_hidden_resource_is_found(source: str) -> None:
    assert len(list(resources_in_apply(ast.parse(source)))) == 1


def test_an_apply_that_only_computes_is_fine() -> None:
    assert not list(resources_in_apply(ast.parse("value.apply(lambda v: Endpoint(v, 1))\nBucket('b', opts=options)")))


@pytest.mark.parametrize(
    ("body", "last"),
    [
        ("self.register_outputs({})", True),
        ("self.register_outputs({}); self.url = 1", False),
        ("self.url = 1", False),
        ("self.register_outputs({}); self.register_outputs({})", False),
    ],
)
def test_outputs_registered_too_early_or_never_are_found(body: str, last: bool) -> None:
    component = ast.parse(f"class A(pulumi.ComponentResource):\n    def __init__(self): {body}").body[0]
    assert isinstance(component, ast.ClassDef)
    assert is_component(component)
    assert registers_outputs_last(component) is last
