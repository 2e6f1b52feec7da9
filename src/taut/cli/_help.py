"""How help looks: commands and options in groups, a line each where it fits, and examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer import Context

WIDTH: Final = 100  # columns that help fills, where the terminal has them
_REST: Final = "Options"
# Groups of options, by the names of their parameters: the same in every command.
_OPTIONS: Final = {
    "What is asked": (
        *("bits", "size", "max_drop", "plan", "sizes", "points", "low", "high", "schemes"),
        *("preset", "presets", "measure", "scheme", "to", "dtype", "weights", "group_size"),
        *("activations", "ranges", "max_error"),
    ),
    "Model and data": (
        *("base", "calib", "score", "loss", "output_kind", "outputs", "original", "into", "key"),
        "strict",
        *("evaluation", "frontier", "analysis", "exports"),
        *("base_model", "license", "made_by"),
    ),
    "Training and tuning": ("train", "epochs", "lr", "teacher", "no_finish", "no_fold"),
    "What is measured": ("speed", "memory", "energy", "watts", "everything"),
    "What is shown": ("top", "sort", "tensor", "each"),
    "Output": (
        "output",
        "html",
        "csv",
        "charts",
        "title",
        "force",
        "dry_run",
        "resume",
        "shard_size",
        "message",
        "create",
        "private",
    ),
    "Run": ("effort", "threads", "ray", "seed", "most_memory", "scratch", "device"),
    "Messages": ("quiet", "verbose", "json", "help"),
}
_GROUP_OF: Final = {name: group for group, names in _OPTIONS.items() for name in names}


class CommandHelp(TyperCommand):
    """A command whose help has its options in groups, and ends with examples."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Give what follows the command's name in its usage, as `[OPTIONS] FILE [OTHER]`."""
        arguments = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        return ["[OPTIONS]", *map(_usage, arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then the groups of options that the command has."""
        _write_parameters(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples as they are: a command that is wrapped cannot be copied."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"  {line}\n")


class GroupHelp(TyperGroup):
    """The program itself: its commands in groups, a line each, never cut."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the groups of commands, then the options."""
        wide = max(map(len, self.commands))
        for group, commands in _grouped(self.commands.values()):
            with formatter.section(group):
                formatter.write_dl([(f"{one.name:<{wide}}", one.short_help) for one in commands])
        with formatter.section(_REST):
            records = [one.get_help_record(ctx) for one in self.get_params(ctx)]
            formatter.write_dl([one for one in records if one is not None])


def _grouped(commands: Iterable[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Commands by the group that they were registered with, in that order."""
    groups: dict[str, list[Any]] = {}
    for one in commands:
        groups.setdefault(one.rich_help_panel, []).append(one)
    yield from groups.items()


def _usage(argument: Any) -> str:
    """An argument in the usage: in brackets if it may be left out, with dots if it is several."""
    name = _name(argument) + ("..." if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


def _name(argument: Any) -> str:
    """What an argument is called, whatever the version of typer puts around it."""
    return str(argument.metavar or argument.name).strip("[]{}.").upper()


def _write_parameters(parameters: Iterable[Any], ctx: Context, formatter: Any) -> None:
    groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{name: [] for name in _OPTIONS}}
    for one in parameters:
        record = one.get_help_record(ctx)
        if record is not None:
            argument = one.param_type_name == "argument"
            group = "Arguments" if argument else _GROUP_OF.get(one.name, _REST)
            told = (_name(one), record[1]) if argument else record
            groups.setdefault(group, []).append(told)
    for group, records in groups.items():
        if records:
            with formatter.section(group):
                formatter.write_dl(records)
