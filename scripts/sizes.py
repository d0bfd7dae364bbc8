"""Print how long files and functions are: the longest of each, the medians, and what is past its length.

    python scripts/sizes.py

A look, not a limit: it never fails. Past 350 lines a file is two ideas, and past 60 a function is two steps.
"""

import ast
import statistics
from pathlib import Path

PACKAGES = ("accountant", "planners", "privgen")
LONG_FILE, LONG_FUNCTION, SHOWN = 350, 60, 3
Sized = tuple[int, str]


def main() -> None:
    """Print the table and whatever is too long."""
    root = Path(__file__).resolve().parents[1]
    files: list[Sized] = []
    functions: list[Sized] = []
    for path in sorted(p for package in PACKAGES for p in (root / package).rglob("*.py")):
        text, name = path.read_text(encoding="utf-8"), str(path.relative_to(root))
        files.append((len(text.splitlines()), name))
        functions += sizes_of(text, name)
    print("lines          count  median  longest")
    for kind, sizes, long in (("files", files, LONG_FILE), ("functions", functions, LONG_FUNCTION)):
        counts = [lines for lines, _ in sizes]
        print(f"of {kind:<11} {len(counts):>5} {statistics.median(counts):>7.0f} {max(counts):>8}")
        past = sorted((sized for sized in sizes if sized[0] > long), reverse=True)
        for lines, name in past[:SHOWN]:
            print(f"  past {long}: {name}, {lines}")
        if len(past) > SHOWN:
            print(f"  and {len(past) - SHOWN} more")


def sizes_of(text: str, name: str) -> list[Sized]:
    """Lines of each function, without its docstring, and where it begins."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            first = node.body[0]
            documented = ast.get_docstring(node, clean=False) is not None and first.end_lineno is not None
            docstring = first.end_lineno - first.lineno + 1 if documented else 0
            found.append((node.end_lineno - node.lineno + 1 - docstring, f"{name}:{node.lineno} {node.name}"))
    return found


if __name__ == "__main__":
    main()
