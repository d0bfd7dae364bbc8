"""`inlined_source`: one Python file that holds a class with everything of ours that it uses, and nothing else.

The text is that of the modules themselves, not a second copy that could come to differ: from the class on, every
top-level name that the code uses is followed into its module, and each definition is put once, those that it needs
before it. A module's own name (_NAME) that another module has too gets a number. What others provide (torch, the
standard library) is imported as the modules import it.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass, field
from types import ModuleType

from privgen.errors import RunError

_OURS = ("privgen", "accountant", "planners")


@dataclass(frozen=True, slots=True)
class _Module:
    """A module's text by top-level name: what it defines, and where what it imports comes from."""

    source: str
    defined: dict[str, ast.stmt]
    imported: dict[str, tuple[str, str]]  # of ours: name → module, name there
    foreign: dict[str, str]  # of others: name → the import's text


@dataclass(slots=True)
class _File:
    """The file as far as it is written."""

    texts: list[str] = field(default_factory=list)
    homes: dict[str, str] = field(default_factory=dict)  # name → the module that it is of
    renamed: dict[tuple[str, str], str] = field(default_factory=dict)  # (module, name) → its name here
    imports: set[str] = field(default_factory=set)


def inlined_source(*roots: type) -> str:
    """The text of a module that defines these classes, in this order.

    Raises:
        RunError: two modules define different things by one public name, or a module has no source.
    """
    file = _File()
    for root in roots:
        _put(file, root.__module__, root.__name__)
    head = "\n".join(["from __future__ import annotations", "", *sorted(file.imports)])
    return head + "\n\n\n" + "\n\n\n".join(file.texts) + "\n"


def _put(file: _File, place: str, name: str) -> None:
    """Add the definition of a name, after all that it uses."""
    home = file.homes.get(name)
    if home == place or (place, name) in file.renamed:
        return
    module = _read(place)
    if name in module.imported:
        _put(file, *module.imported[name])
        return
    if home is not None and not name.startswith("_"):
        raise RunError(f"{name} is defined in {home} and in {place}; one file cannot hold both.")
    node = module.defined[name]
    # A, B = 1, 2 defines both.
    for other in [other for other, found in module.defined.items() if found is node]:
        if other in file.homes:  # a module's own name, which another has too
            file.renamed[place, other] = f"{other}_{len(file.renamed) + 2}"
        else:
            file.homes[other] = place
    for used in sorted(_used_at_run_time(node) | _aliases(module, node)):
        if used in module.defined and used != name:
            _put(file, place, used)
        elif used in module.imported:
            where, there = module.imported[used]
            if there != used:
                raise RunError(f"{place} imports {there} as {used}; one file cannot hold both names.")
            _put(file, where, there)
    # Annotations are never evaluated, but a reader and a dataclass look for what others provide in them.
    file.imports |= {text for used, text in module.foreign.items() if used in _names(node)}
    text = _text(module, node)
    for (where, old), new in file.renamed.items():
        if where == place:
            text = re.sub(rf"(?<![\w.]){re.escape(old)}(?!\w)", new, text)
    file.texts.append(text)


def _read(place: str) -> _Module:
    module: ModuleType = sys.modules[place] if place in sys.modules else __import__(place, fromlist=["_"])
    if module.__file__ is None:
        raise RunError(f"{place} has no source to export.")
    with open(module.__file__, encoding="utf-8") as file:  # noqa: PTH123
        source = file.read()
    found = _Module(source, {}, {}, {})
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            _add_import(found, node)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                text = f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")
                found.foreign[alias.asname or alias.name.partition(".")[0]] = text
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.defined[node.name] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                found.defined.update(dict.fromkeys(_names(target), node))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.defined[node.target.id] = node
    return found


def _add_import(found: _Module, node: ast.ImportFrom) -> None:
    module = node.module or ""
    for alias in node.names:
        name = alias.asname or alias.name
        if module.partition(".")[0] in _OURS:
            found.imported[name] = (module, alias.name)
        else:
            renamed = f" as {alias.asname}" if alias.asname else ""
            found.foreign[name] = f"from {module} import {alias.name}{renamed}"


def _text(module: _Module, node: ast.stmt) -> str:
    """A definition as it is written, with its decorators."""
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
    return "\n".join(module.source.splitlines()[first - 1 : node.end_lineno])


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _aliases(module: _Module, node: ast.AST) -> set[str]:
    """Names of types that stand in annotations for longer ones; classes that stand there alone are left out."""
    found = set()
    for name in _names(node):
        place, there = module.imported.get(name, ("", name))
        if isinstance((_read(place) if place else module).defined.get(there), ast.Assign):
            found.add(name)
    return found


def _used_at_run_time(node: ast.stmt) -> set[str]:
    """Names that a definition uses, those in annotations and quoted casts left out."""
    notes: set[int] = set()
    for one in ast.walk(node):
        for note in (getattr(one, "annotation", None), getattr(one, "returns", None)):
            if note is not None:
                notes |= {id(inner) for inner in ast.walk(note)}
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and id(one) not in notes}
