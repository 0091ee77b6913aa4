"""Cases: the typed inputs of a check, small enough to print and to replay.

A case holds sizes and choices. Its tensors follow from them: each is drawn from a generator that its name and the
case's seed determine, unless the case spells its values out.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from torch import Tensor

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A tensor that a case was asked for: what is needed to spell its values out.

    Attributes:
        shape: its shape.
        low: the least whole number to try in its place.
        high: the greatest.
        kind: ``float``, ``integer`` or ``boolean``.
        tensor: what the check was given, with what it has changed in place since.
    """

    shape: tuple[int, ...]
    low: int
    high: int
    kind: str
    tensor: Tensor


@dataclass(frozen=True, kw_only=True)
class Case:
    """The fields that every case has; components add their own.

    Attributes:
        seed: of the tensors' contents.
        scale: standard deviation of the floating contents.
        dtype: floating type in which the candidate is built and called.
        values: contents that replace the drawn ones, as nested lists by tensor name.
    """

    seed: int = 0
    scale: float = 1.0
    dtype: str = "float64"
    values: Values = field(default_factory=dict)
    drawn: dict[str, Drawn] = field(default_factory=dict, compare=False, repr=False)

    def normal(self, name: str, *shape: int) -> Tensor:
        """Floating contents of standard deviation ``scale``."""
        return self._tensor(name, shape, -3, 3, "float")

    def integers(self, name: str, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from ``low`` up to but without ``high``."""
        return self._tensor(name, shape, low, high - 1, "integer")

    def booleans(self, name: str, *shape: int) -> Tensor:
        """True or False with equal chance."""
        return self._tensor(name, shape, 0, 1, "boolean")

    def permutation(self, name: str, length: int) -> Tensor:
        """The numbers from 0 up to but without ``length``, in some order."""
        return self.normal(name, length).argsort(stable=True)

    def _tensor(self, name: str, shape: tuple[int, ...], low: int, high: int, kind: str) -> Tensor:
        dtype = {"float": getattr(torch, self.dtype), "integer": torch.int64, "boolean": torch.bool}[kind]
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed}/{name}".encode()))
        if name in self.values:
            tensor = torch.tensor(self.values[name], dtype=dtype).reshape(shape)
        elif kind == "float":
            # Drawn in float64 whatever the type, so that a case means the same numbers in each.
            tensor = (self.scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)
        else:
            tensor = torch.randint(low, high + 1, shape, generator=generator).to(dtype)
        self.drawn[name] = Drawn(shape=shape, low=low, high=high, kind=kind, tensor=tensor)
        return tensor

    def to_json(self) -> dict[str, Any]:
        """The fields, ready for `json.dumps`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "drawn"}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ValueError: when a field is unknown or its type is wrong.
        """
        known = {f.name: f for f in fields(cls) if f.name != "drawn"}
        for name, value in record.items():
            if name not in known:
                raise ValueError(f"a {cls.__name__} has no field {name!r}; it has {', '.join(known)}")
            default = known[name].default
            if isinstance(default, (int, float, str)) and not isinstance(value, type(default)):
                raise ValueError(f"{name} is {value!r}, a {type(value).__name__}; a {type(default).__name__} is wanted")
        return cls(**record)


Domain = Mapping[str, Sequence[Any]]
"""For each field of a case the values it may take, the simplest first."""
