"""Modules that call themselves PURE load without pulumi."""

from __future__ import annotations

import ast
import subprocess
import sys

from tools.paths import ROOT


def test_pure_modules_do_not_load_pulumi() -> None:
    names = pure_modules()
    assert "infra.contract" in names
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    if 'pulumi' in sys.modules: sys.exit(f'{name} loads pulumi')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def pure_modules() -> list[str]:
    """Dotted names of the modules whose docstring begins with PURE."""
    return [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in sorted((ROOT / "infra").rglob("*.py"))
        if (ast.get_docstring(ast.parse(file.read_text())) or "").startswith("PURE")
    ]
