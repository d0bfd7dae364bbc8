"""A word that is not known: the nearest that is, and nothing far-fetched.

click's own guesses offer --plan for --epsilonn. Here an option is guessed only where it is nearly the same word; one
that another command has is said to be that command's.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

import click

# Share of letters that two words have in common, in order: "trian" and "train" 0.8, "--epsilonn" and "--plan" 0.63.
_ALIKE = 0.75


def nearest(word: str, known: Collection[str]) -> str | None:
    """The one of `known` that somebody who wrote `word` will have meant, or None.

    >>> nearest("trian", ["plan", "train"]), nearest("--epsilonn", ["--plan", "--preset"])
    ('train', None)
    """
    return next(iter(get_close_matches(word, known, n=1, cutoff=_ALIKE)), None)


def meant(word: str, known: Collection[str]) -> str:
    """ " Did you mean ...?" with a space before it, or nothing.

    >>> meant("trian", ["plan", "train"]), meant("xyz", ["plan"])
    (' Did you mean train?', '')
    """
    found = nearest(word, known)
    return "" if found is None else f" Did you mean {found}?"


class SuggestingGroup(click.Group):
    """A group that says which command was meant, and which there are."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; an unknown name is wrong usage, with the nearest."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            known = self.list_commands(ctx)
            raise click.UsageError(f"No such command {name!r}.{meant(name, known)} Commands: {', '.join(known)}.", ctx)
        return super().resolve_command(ctx, args)


def name_the_nearest(error: click.NoSuchOption, group: click.Group, ctx: click.Context) -> click.UsageError:
    """The same error with the option that was meant, of this command or of another.

    Args:
        group: whose commands are looked through. ctx: its context.
    """
    own = options_of(error.ctx.command) if error.ctx is not None else ()
    found = nearest(error.option_name, own)
    if found is not None:
        return click.UsageError(f"No such option {error.option_name!r}. Did you mean {found}?", error.ctx)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        others = nearest(error.option_name, options_of(command)) if command is not None else None
        if others is not None:
            text = f"No such option {error.option_name!r} here; privgen {name} has {others}."
            return click.UsageError(text, error.ctx)
    return click.UsageError(f"No such option {error.option_name!r}.", error.ctx)


def options_of(command: click.Command) -> tuple[str, ...]:
    """The long options of a command."""
    return tuple(
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    )
