"""Curated data: TOML files, read into typed models."""

import tomllib
from collections.abc import Callable
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

import pydantic

from errata.errors import ErrataError


class Table(pydantic.BaseModel):
    """A table of a TOML file; unknown keys are mistakes."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


Model = TypeVar("Model", bound=Table)


def read(
    file: Traversable, model: type[Model], prepare: Callable[[dict[str, Any]], dict[str, Any]] = lambda table: table
) -> Model:
    """Read ``file`` as a ``model``, after ``prepare`` has filled in what stands elsewhere.

    Raises:
        ErrataError: when it is not UTF-8, not TOML, or not of this shape.
    """
    try:
        return model.model_validate(prepare(tomllib.loads(file.read_text(encoding="utf-8"))))
    except UnicodeDecodeError as error:
        raise ErrataError(f"{file}: byte {error.start} is not UTF-8: save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ErrataError(f"{file}: not TOML: {error}: correct it there") from None
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the top level"
        raise ErrataError(f"{file}: {where}: {first['msg']}: see CONTRIBUTING.md for the fields") from None
