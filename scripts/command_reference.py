"""The page commands.md, made from the command line itself: each command's words, options and examples.

mkdocs runs `on_files` while it builds (`hooks` in mkdocs.yml), so that the page cannot differ from the commands.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
PAGE = "commands.md"

_OPENING = """# Commands

This page is made from the command line itself; `privgen COMMAND --help` prints the same.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """mkdocs: put the page among the others."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """The page's text."""
    import click

    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from privgen.cli.group import COMMANDS
    from privgen.cli.group import main as group

    top = click.Context(group, info_name="privgen")
    parts = [_OPENING]
    for name in COMMANDS:
        command = group.get_command(top, name)
        assert command is not None  # it stands in the table
        parts.append(_section(command, name, top, depth=2))
    return "\n".join(parts)


def _section(command: click.Command, name: str, above: click.Context, *, depth: int) -> str:
    """A command, and those below it."""
    import click

    context = click.Context(command, info_name=name, parent=above, terminal_width=100, max_content_width=100)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    found = f"{'#' * depth} {context.command_path}\n\n```text\n{text}\n```\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            inner = command.get_command(context, below)
            assert inner is not None  # it was just listed
            found += "\n" + _section(inner, below, context, depth=depth + 1)
    return found
