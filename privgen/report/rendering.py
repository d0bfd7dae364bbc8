"""The report's templates: every value is escaped, and a name that a template misspells is an error.

>>> str(breakable("<b>.json"))
'&lt;b&gt;.<wbr>json'
"""

from __future__ import annotations

import functools
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


def render(template: str, **values: Any) -> Markup:
    """A template of `privgen/report/templates` with its values; the result may be put into another template.

    Args:
        template: the file's name. values: for its names; everything but Markup is escaped.

    Raises:
        jinja2.UndefinedError: the template uses a name without a value.
    """
    return Markup(_environment().get_template(template).render(**values))


def source(template: str) -> Markup:
    """The unrendered text of a file, such as a style sheet that must be inserted byte for byte."""
    environment = _environment()
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, template)[0])


def breakable(name: str) -> Markup:
    """A name that may be broken at its dots on a narrow screen."""
    return escape(name).replace(".", Markup(".<wbr>"))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("privgen.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    return environment
