"""The site: no page is orphaned, no link of README and CHANGELOG leads nowhere, and every option has its line."""

import importlib.util
import re
from pathlib import Path

import click
import pytest

from privgen.cli import main
from privgen.cli.group import COMMANDS

ROOT = Path(__file__).parents[2]
NAVIGATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
PAGES = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
OUTSIDE = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("*.md"))]


def reference():
    """The page that mkdocs has made from the commands."""
    spec = importlib.util.spec_from_file_location("command_reference", ROOT / "scripts" / "command_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.page()


def test_every_page_stands_in_the_navigation_once():
    named = re.findall(r"([\w./-]+\.md)\s*$", NAVIGATION, re.M)
    assert sorted(named) == sorted([*PAGES, "commands.md"])


@pytest.mark.parametrize("page", OUTSIDE)
def test_links_of_pages_beside_the_site_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)", text)
    assert not [link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()]


def test_the_reference_has_every_command_and_every_option():
    text = reference()
    top = click.Context(main, info_name="privgen")
    for name in COMMANDS:
        command = main.get_command(top, name)
        section = text.partition(f"## privgen {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert all(opt in section for opt in parameter.opts), (name, parameter.opts)


def test_the_glossary_is_in_order_and_names_nothing_twice():
    rows = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    words = [row.split(" | ")[0][2:] for row in rows if row.startswith("| ")][1:]
    spelt = [re.sub(r"^. \((\w+)\)", r"\1", word).casefold() for word in words]
    assert spelt == sorted(set(spelt))
