"""Objects by the name of their module and their own: ``package.module:name``."""

import importlib
import sys
from typing import Any

from errata.errors import ErrataError


def find_object(where: str) -> Any:
    """The object of this address.

    Raises:
        ErrataError: when there is none, or its module does not import.
    """
    module_name, colon, name = where.partition(":")
    if not colon or not module_name or not name:
        raise ErrataError(f"{where!r} is no address: write package.module:name")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise ErrataError(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise ErrataError(f"{module_name} has no {name!r}: correct the name after the colon")
        found = getattr(found, part)
    return found


def address(value: object) -> str | None:
    """Where an object can be imported from, if it is a name of some module."""
    script = vars(sys.modules["__main__"])
    for module_name, module in sorted(sys.modules.items()):
        names = getattr(module, "__dict__", {})
        if names is not script:
            for name, found in list(names.items()):
                if found is value and name.isidentifier():
                    return f"{module_name}:{name}"
    return None
