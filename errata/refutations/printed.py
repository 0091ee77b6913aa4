"""The blocks of the documents, verbatim, for statements about the printed code."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from errata.errors import ErrataError

SNIPPETS = Path(__file__).parents[2] / "snippets"


def printed(file: str, *repairs: tuple[str, str], **names: Any) -> dict[str, Any]:
    """Run a block of `snippets/` and return what it defines.

    Imports that the block forgets are provided; so are further `names`, such as classes of earlier questions. Each
    repair, an old and a new text, replaces what would stop the block from running at all, and nothing else.

    Raises:
        ErrataError: when the block cannot be read, or does not hold the text of a repair.
    """
    path = SNIPPETS / file
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ErrataError(f"{path}: cannot be read ({error.strerror}); run this in a checkout") from None
    for old, new in repairs:
        if old not in text:
            raise ErrataError(f"{path}: {old!r} is not in it; correct the repair")
        text = text.replace(old, new)
    namespace: dict[str, Any] = {"np": np, "torch": torch, "nn": nn, **names}
    exec(compile(text, file, "exec"), namespace)
    return namespace
