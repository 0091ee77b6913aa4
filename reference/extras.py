"""Optional packages: imported where they are used, with a remedy when they are missing."""

from importlib import import_module
from types import ModuleType


def require(package: str, *, extra: str) -> ModuleType:
    """Import `package`; `ImportError` that names the extra which brings it, if it is not installed."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        remedy = f"pip install 'transformer-errata[{extra}]'"
        raise ImportError(f"{error.name} is needed here and not installed: {remedy}", name=error.name) from error
