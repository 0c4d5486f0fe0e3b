"""Options that mean the same in several commands, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Directory = Annotated[Path, typer.Option(help="Where the network that stays up keeps its things.")]
NodeName = Annotated[str, typer.Option("--node", help="The node's URL, or its name in the network that is up.")]
Token = Annotated[str, typer.Option(envvar="POWERSHARE_TOKEN", help="Whose call it is; none: the node's operator's.")]
