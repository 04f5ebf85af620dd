"""Commands and options with a choice of names: of a name that there is not, they say which one is like it."""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import click

from ..messages.counts import noun
from ..messages.suggestions import did_you_mean, suggested, with_question


class WholeNumber(click.IntRange):
    """A whole number; what is none is called so."""

    name = "whole number"


class Number(click.FloatRange):
    """A number; what is none is called so."""

    name = "number"


class Choice(click.Choice[str]):
    """A choice of names, in any case; whether words are separated by `_`, `-` or blanks does not matter."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        """Return a name in the form in which names are compared."""
        return re.sub("[-_ ]+", "_", super().normalize_choice(choice, ctx).casefold())

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return what is wrong with a value that is none of the names."""
        return suggested(super().get_invalid_choice_message(value, ctx).rstrip("."), value, self.choices)


_OTHER_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {  # as other programs call them
    "--format": ("--json", "--csv"),
    "--output": ("--json", "--csv"),
    "--output-format": ("--json", "--csv"),
    "-o": ("--json", "--csv"),
    "--filter": ("--name", "--processor"),
    "--backend": ("--name",),
    "--fields": ("--columns",),
    "--order-by": ("--sort",),
}


class Command(click.Command):
    """A command that says what is meant by other programs' options, and by arguments that are too many."""

    allow_extra_args = True  # they are refused below, with advice

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        known = {name for one in self.get_params(ctx) for name in one.opts}
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if meant := [one for one in _OTHER_OPTIONS.get(error.option_name, ()) if one in known]:
                raise click.UsageError(
                    with_question(f"No such option {error.option_name!r}", meant), ctx
                ) from None
            raise
        if rest and not ctx.resilient_parsing:
            raise click.UsageError(self._unexpected(rest, known), ctx)
        return rest

    def _unexpected(self, rest: Sequence[str], known: AbstractSet[str]) -> str:
        """Return which arguments are too many, and how the same may be asked for."""
        text = f"Unexpected {noun(len(rest), 'argument')} {' '.join(map(repr, rest))}"
        if any(one.name == "backend_id" for one in self.params):
            return f"{text}: this is about one backend at a time"
        if {"--name", "--json"} <= known:
            return f"{text}; did you mean --name {rest[0]}, or the command `show {rest[0]}`?"
        return text


class Group(click.Group):
    """A group of commands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names, and the other arguments."""
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        commands = self.list_commands(ctx)
        instead = self.meant_by(name, commands) or f"there are {', '.join(commands)}"
        raise click.UsageError(f"No such command {name!r}; {instead}", ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments before the command's name."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            path, option = ctx.command_path, error.option_name
            question = did_you_mean(option, [name for one in self.get_params(ctx) for name in one.opts])
            follows = f"the options of a command follow its name, as in `{path} COMMAND {option}`"
            raise click.UsageError(f"No such option {option!r}; {question or follows}", ctx) from None

    def meant_by(self, name: str, commands: Sequence[str]) -> str:
        """Return the question which command is meant by a name, or an empty text."""
        return did_you_mean(name, commands)
