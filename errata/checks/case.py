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
    """A tensor that a case was asked for: what is needed to spell its values out."""

    shape: tuple[int, ...]
    low: int
    high: int
    kind: str


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
        return self._tensor(name, Drawn(shape=shape, low=-3, high=3, kind="float"))

    def integers(self, name: str, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from ``low`` up to but without ``high``."""
        return self._tensor(name, Drawn(shape=shape, low=low, high=high - 1, kind="integer"))

    def booleans(self, name: str, *shape: int) -> Tensor:
        """True or False with equal chance."""
        return self._tensor(name, Drawn(shape=shape, low=0, high=1, kind="boolean"))

    def _tensor(self, name: str, drawn: Drawn) -> Tensor:
        self.drawn[name] = drawn
        dtype = {"float": getattr(torch, self.dtype), "integer": torch.int64, "boolean": torch.bool}[drawn.kind]
        if name in self.values:
            return torch.tensor(self.values[name], dtype=dtype).reshape(drawn.shape)
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed}/{name}".encode()))
        if drawn.kind == "float":
            # Drawn in float64 whatever the type, so that a case means the same numbers in each.
            return (self.scale * torch.randn(drawn.shape, generator=generator, dtype=torch.float64)).to(dtype)
        return torch.randint(drawn.low, drawn.high + 1, drawn.shape, generator=generator).to(dtype)

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
