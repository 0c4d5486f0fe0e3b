"""What the commands print: tables, progress, and refusals a person can act on. rich is loaded when it is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

import typer

from cli.plan import Report


def fail(sentence: object, *, code: int = 1) -> NoReturn:
    """Say on standard error why nothing was done, and end with `code`."""
    typer.echo(str(sentence), err=True)
    raise typer.Exit(code)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table; on a pipe it is as wide as its content, so that nothing a program wants is cut off."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=1000)
    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(drawn)


@contextlib.contextmanager
def progress() -> Iterator[Report]:
    """A line that says what is being done and how far it is; yields what to call with each step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task("starting")

        def report(stage: str, done: int, total: int) -> None:
            drawn.update(task, description=stage, completed=done, total=total)

        yield report
