"""Instances that are Python callables, run in this process."""

import contextlib
import io
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from errata.candidates.candidate import Argument, CandidateError, Reply
from errata.candidates.weights import Names
from errata.errors import ErrataError


@dataclass(frozen=True)
class CallableInstance:
    """A built candidate; see `Instance`.

    Attributes:
        target: called with the built object, if there is one, and the arguments by name.
        built: what the constructor gave.
        dtype: the default floating type, at construction and at every call.
        names: how the component's parameters are found in it.
        place: where in the candidate's own source an exception was raised, as ``file:line``.
    """

    target: Callable[..., Any]
    built: Any
    dtype: str
    names: Names
    place: Callable[[BaseException], str | None]

    def call(
        self,
        arguments: Mapping[str, Argument],
        *,
        training: bool = False,
        seed: int = 0,
        cotangent: Tensor | None = None,
        autocast: str | None = None,
    ) -> Reply:
        """See `Instance.call`."""
        # The candidate gets tensors of its own: what it does to them shows in the reply, not in the check.
        passed = {name: _own(value, cotangent is not None) for name, value in arguments.items()}
        tensors = {name: value for name, value in passed.items() if isinstance(value, Tensor)}
        with guarded(self.dtype, seed, self.place):
            if isinstance(self.built, nn.Module) and self.built.training != training:
                self.built.train(training)
            with torch.autocast("cpu", getattr(torch, autocast)) if autocast else contextlib.nullcontext():
                result = self.target(**passed) if self.built is None else self.target(self.built, **passed)
            outputs = _named(result)
            gradients = {}
            if cotangent is not None:
                # A leading dot keeps parameters apart from arguments of the same name.
                own = {f".{name}": value for name, value in self._trained().items()}
                gradients = _gradients(outputs["output"], cotangent, tensors | own)
        return Reply(
            outputs={name: value.detach() for name, value in outputs.items()},
            arguments={name: value.detach() for name, value in tensors.items()},
            gradients={name: gradients[name] for name in tensors if name in gradients},
            parameter_gradients=self.names.read(
                {name[1:]: value for name, value in gradients.items() if name.startswith(".")}
            ),
        )

    def state(self) -> Mapping[str, Tensor]:
        """See `Instance.state`."""
        return self.names.read({name: value.detach().clone() for name, value in self._tensors().items()})

    def parameters(self) -> frozenset[str]:
        """See `Instance.parameters`."""
        return frozenset(self.names.read(self._trained()))

    def load(self, state: Mapping[str, Tensor]) -> None:
        """See `Instance.load`."""
        with guarded(self.dtype, 0, self.place), torch.no_grad():
            self.names.write(self._tensors(), state)

    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.built.state_dict()) if isinstance(self.built, nn.Module) else {}

    def _trained(self) -> dict[str, Tensor]:
        named = self.built.named_parameters() if isinstance(self.built, nn.Module) else ()
        return {name: value for name, value in named if value.requires_grad}


@contextlib.contextmanager
def guarded(dtype: str, seed: int, place: Callable[[BaseException], str | None]) -> Iterator[None]:
    """Leave no trace in the process, and turn whatever the candidate raises into a `CandidateError`."""
    before = torch.get_default_dtype()
    with (
        torch.random.fork_rng(devices=[]),
        torch.enable_grad(),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        torch.set_default_dtype(getattr(torch, dtype))
        # torch.manual_seed would also queue a call for each kind of absent device, with a formatted stack: slow.
        torch.default_generator.manual_seed(seed)
        try:
            yield
        except (CandidateError, ErrataError):
            raise
        except (Exception, SystemExit) as error:
            raise CandidateError(type(error).__name__, str(error), place(error)) from None
        finally:
            torch.set_default_dtype(before)


def innermost_place(error: BaseException, files: frozenset[str]) -> str | None:
    """Where an exception was raised: the innermost ``file:line`` among these files."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _own(value: Argument, differentiable: bool) -> Argument:
    if not isinstance(value, Tensor):
        return value
    return value.detach().clone().requires_grad_(differentiable and value.is_floating_point())


def _named(result: Any) -> dict[str, Tensor]:
    outputs = result if isinstance(result, Mapping) else {"output": result}
    for name, value in outputs.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is a {type(value).__name__}, not a tensor")
    return dict(outputs)


def _gradients(output: Tensor, cotangent: Tensor, sources: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not output.requires_grad:
        return {}
    wanted = {name: value for name, value in sources.items() if value.requires_grad}
    found = torch.autograd.grad(output, list(wanted.values()), cotangent, allow_unused=True)
    return {name: gradient for name, gradient in zip(wanted, found, strict=True) if gradient is not None}
