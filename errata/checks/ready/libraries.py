"""Libraries that are there only if the user has them."""

import importlib
from typing import Any

from errata.errors import ErrataError


def imported(module: str, package: str) -> Any:
    """A library.

    Args:
        module: what it is imported as.
        package: what it is installed as.

    Raises:
        ErrataError: when it is missing, with what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ErrataError(f"{module} cannot be imported ({error}): pip install {package}") from None
