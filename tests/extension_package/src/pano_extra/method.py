"""A method: `count-things` asks a model of the package's own role."""

from __future__ import annotations

from typing import Annotated

from panoglot import Caption, Image, method
from panoglot.asking import Models
from panoglot.running import Asks


@method(verb="caption", name="count-things", paper="Counting (2026)", year=2026)
async def count_things(
    image: Image, m: Models, *, counter: Annotated[str, Asks("counter")] = "extra:counter"
) -> Caption:
    """Say how many things are in a picture."""
    count: int = await m[counter].ask("tally", image)
    return Caption(f"{count} things", lang="en", model=m[counter].name, scores={"things": float(count)})
