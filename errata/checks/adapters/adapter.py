"""What every adapter has: how somebody's implementation is built, called and, where known, given weights."""

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

import errata
from errata.candidates import Argument
from errata.candidates.callables import CallableInstance, guarded
from errata.candidates.candidate import Scalar
from errata.candidates.weights import Names, Prefixes, Shapes, Tensors, find
from errata.errors import ErrataError

OWN_FOLDER = Path(errata.__file__).parent

Config = Mapping[str, Scalar]
Arguments = Mapping[str, Argument]


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An implementation of a component, and the conventions that it follows.

    The subclass says which component it is; ``sizes`` are the arguments of ``build`` and ``inputs`` those of ``call``
    after the built object, all by position and in this order.

    Attributes:
        call: ``call(built, *inputs)`` gives the output; without ``build``, ``call(*inputs)``.
        build: ``build(*sizes)`` constructs what ``call`` needs, a module as a rule.
        weights: the names of parameters in the component, as dotted prefixes, to those in the module:
            ``{"query": "w_q"}``. Unlocks the checks that compare with a formula.
        set_weights: the same for modules that hold the numbers in another shape, transposed or packed:
            ``set_weights(built, weights)`` copies tensors, by their names in the component, into the module.
        returns: what ``call`` returns, in order; ``"_"`` for what is of no interest.
        traits: legitimate choices that the implementation makes, see ``known_traits``.
        name: for reports.
        origin: the arguments of `errata.checks.find` that give it, where it was found so.
    """

    component: ClassVar[str]
    sizes: ClassVar[tuple[str, ...]] = ()
    inputs: ClassVar[tuple[str, ...]]
    known_traits: ClassVar[frozenset[str]] = frozenset()
    unlocked_by: ClassVar[Mapping[str, str]] = {"weights": "set_weights", "attention-weights": "returns"}
    """For traits that a check needs, the field that gives them."""

    call: Callable[..., Any]
    build: Callable[..., Any] | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    set_weights: Callable[[Any, Tensors], Any] | None = None
    returns: tuple[str, ...] = ("output",)
    traits: frozenset[str] = frozenset()
    name: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """`ErrataError` for callables that cannot be called like this, and for unknown traits."""
        unknown = sorted(set(self.traits) - self.known_traits)
        if unknown:
            known = ", ".join(sorted(self.known_traits)) or "none"
            raise ErrataError(f"{self.title}: {unknown[0]!r} is no trait of it; known: {known}")
        if self.weights and self.set_weights:
            raise ErrataError(f"{self.title}: give weights or set_weights, not both")
        if self.set_weights and not self.has_shapes:
            raise ErrataError(f"{self.title}: no check needs set_weights; leave it out")
        if "output" not in self.returns:
            raise ErrataError(f"{self.title}: returns is {self.returns}; name one of them 'output'")
        if self.build is not None:
            self._require_callable("build", self.build, self.build_sizes())
        self._require_callable("call", self.call, self.call_parameters())

    @property
    def title(self) -> str:
        """How reports call it."""
        return self.name or type(self).__name__

    @property
    def has_shapes(self) -> bool:
        """Whether the component's weights are known by name."""
        return type(self).shapes is not Adapter.shapes

    def call_parameters(self) -> tuple[str, ...]:
        """The names of what ``call`` is given."""
        return (() if self.build is None else ("built",)) + self.passed_inputs()

    def build_sizes(self) -> tuple[str, ...]:
        """The names of what ``build`` is given."""
        return self.sizes

    def construct(self, config: Config) -> Any:
        """What ``build`` makes for these sizes; None without."""
        return self.build(*(config[size] for size in self.sizes)) if self.build else None

    def passed_inputs(self) -> tuple[str, ...]:
        """Those of the component's inputs that the implementation takes."""
        return self.inputs

    def chosen_traits(self) -> frozenset[str]:
        """The traits that follow from the fields."""
        known = {"weights"} if self.weights or self.set_weights else set()
        returned = {"attention-weights"} if "weights" in self.returns else set()
        return frozenset(self.traits | known | returned)

    def shapes(self, config: Config) -> Shapes:
        """The component's tensors, of which `set_weights` gets one each."""
        raise NotImplementedError

    def convert(self, arguments: Arguments, config: Config) -> Arguments:
        """The component's arguments by the implementation's conventions."""
        return arguments

    def revert(self, outputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The implementation's outputs by the component's conventions."""
        return outputs

    def invoke(self, config: Config, *built: Any, **arguments: Argument) -> Mapping[str, Tensor]:
        """One call, converted both ways."""
        converted = self.convert(arguments, config)
        passed = {name: converted[name] for name in self.passed_inputs()}
        return self.revert(self.read("call", self.call(*built, *passed.values()), passed))

    def read(self, role: str, result: Any, arguments: Arguments) -> Mapping[str, Tensor]:
        """What a callable returned, by name.

        Raises:
            ErrataError: when it is not what ``returns`` says.
        """
        results = (result,) if isinstance(result, Tensor) else result
        if not isinstance(results, (tuple, list)) or len(results) != len(self.returns):
            raise self._unexpected(role, result, arguments)
        named = {name: value for name, value in zip(self.returns, results, strict=True) if name != "_"}
        if not all(isinstance(value, Tensor) for value in named.values()):
            raise self._unexpected(role, result, arguments)
        return named

    def names(self, built: Any, config: Config) -> Names:
        """How the component's parameters are found in the built object."""
        if self.set_weights is None:
            return Prefixes(self.weights)
        if not isinstance(built, nn.Module):
            raise ErrataError(f"{self.title}: build returned {described(built)}; set_weights needs an nn.Module")
        return find(built, self.shapes(config), self.set_weights)

    def _unexpected(self, role: str, result: Any, arguments: Arguments) -> ErrataError:
        given = ", ".join(f"{name} {described(value)}" for name, value in arguments.items())
        return ErrataError(
            f"{self.title}: {role} was given {given} and returned {described(result)}; "
            f"returns={self.returns} was promised: return that, or say in `returns` what stands where"
        )

    def _require_callable(self, role: str, function: Any, names: tuple[str, ...]) -> None:
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            if callable(function):  # a builtin does not say what it takes
                return
            raise ErrataError(f"{self.title}: {role} is {described(function)}, not a callable") from None
        try:
            signature.bind(*names)
        except TypeError as error:
            raise ErrataError(
                f"{self.title}: {role} is called with ({', '.join(names)}), by position, and takes {signature}: {error}"
            ) from None


class AdaptedCandidate:
    """The implementation behind an adapter, as the checks see it."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.name = adapter.title
        self.traits = adapter.chosen_traits()
        self._names: dict[tuple[Scalar, ...], Names] = {}

    def build(self, config: Config, *, dtype: str = "float64", seed: int = 0) -> CallableInstance:
        """See `Candidate.build`."""
        adapter, sizes = self.adapter, tuple(config.values())
        with guarded(dtype, seed, own_place):
            built = adapter.construct(config)
            if sizes not in self._names:
                self._names[sizes] = adapter.names(built, config)
            return CallableInstance(partial(adapter.invoke, config), built, dtype, self._names[sizes], own_place)


def own_place(error: BaseException) -> str | None:
    """The innermost ``file:line`` that belongs to neither an installed package nor to us."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def is_users(file: str) -> bool:
    """Whether a source file is the user's own."""
    path = Path(file)
    return not {"site-packages", "dist-packages"} & set(path.parts) and not path.is_relative_to(OWN_FOLDER)


def described(value: Any) -> str:
    """A value as an error names it: tensors by type and shape, collections by what is in them."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {', '.join(map(described, value)) or 'nothing'}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    return f"a {type(value).__name__}"
