"""Curated data: TOML files, read into typed models."""

import tomllib
from importlib.resources.abc import Traversable
from typing import TypeVar

import pydantic

from errata.errors import ErrataError


class Table(pydantic.BaseModel):
    """A table of a TOML file; unknown keys are mistakes."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


Model = TypeVar("Model", bound=Table)


def read(file: Traversable, model: type[Model]) -> Model:
    """Read ``file`` as a ``model``.

    Raises:
        ErrataError: when it is not UTF-8, not TOML, or not of this shape.
    """
    try:
        return model.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except UnicodeDecodeError as error:
        raise ErrataError(f"{file}: byte {error.start} is not UTF-8: save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ErrataError(f"{file}: not TOML: {error}: correct it there") from None
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the top level"
        raise ErrataError(f"{file}: {where}: {first['msg']}: see CONTRIBUTING.md for the fields") from None
