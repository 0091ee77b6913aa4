"""Candidates that run in this process."""

import contextlib
import io
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from errata.candidates.candidate import Argument, CandidateError, Reply, Scalar
from errata.candidates.program import Program


class LocalCandidate:
    """A `Program`, run in this process. For trusted code only."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.name = program.name
        self.traits = program.traits | ({"weights"} if program.weights else frozenset())
        self._adapter: dict[str, Any] | None = None

    def build(self, config: Mapping[str, Scalar], *, dtype: str = "float64", seed: int = 0) -> "LocalInstance":
        """See `Candidate.build`."""
        with self._guarded(dtype, seed):
            if self._adapter is None:
                self._adapter = self._run_sources()
            build = self._adapter.get("build")
            built = build(**config) if build else None
            return LocalInstance(self, built, dtype)

    def _run_sources(self) -> dict[str, Any]:
        namespace: dict[str, Any] = {"__name__": self.program.name}
        *definitions, last = self.program.sources
        for source in definitions:
            exec(source.compile(), namespace)
        if self.program.script:
            code = last.compile()

            def script(**names: Any) -> dict[str, Any]:
                scope = namespace | names
                exec(code, scope)
                return scope

            namespace["script"] = script
        else:
            exec(last.compile(), namespace)
        exec(compile(self.program.adapter, f"<adapter of {self.name}>", "exec", dont_inherit=True), namespace)
        return namespace

    @contextlib.contextmanager
    def _guarded(self, dtype: str, seed: int) -> Iterator[None]:
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
            except CandidateError:
                raise
            except (Exception, SystemExit) as error:
                raise CandidateError(type(error).__name__, str(error), self._place(error)) from None
            finally:
                torch.set_default_dtype(before)

    def _place(self, error: BaseException) -> str | None:
        if isinstance(error, SyntaxError):
            return f"{error.filename}:{error.lineno}"
        files = {source.file for source in self.program.sources}
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
        return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


class LocalInstance:
    """A built local candidate; see `Instance`."""

    def __init__(self, candidate: LocalCandidate, built: Any, dtype: str) -> None:
        self._candidate = candidate
        self._built = built
        self._dtype = dtype

    def call(
        self,
        arguments: Mapping[str, Argument],
        *,
        training: bool = False,
        seed: int = 0,
        cotangent: Tensor | None = None,
    ) -> Reply:
        """See `Instance.call`."""
        # The candidate gets tensors of its own: what it does to them shows in the reply, not in the check.
        passed = {name: _own(value, cotangent is not None) for name, value in arguments.items()}
        tensors = {name: value for name, value in passed.items() if isinstance(value, Tensor)}
        with self._candidate._guarded(self._dtype, seed):
            if isinstance(self._built, nn.Module):
                self._built.train(training)
            target: Callable[..., Any] = self._candidate._adapter["call"]  # type: ignore[index]
            result = target(**passed) if self._built is None else target(self._built, **passed)
            outputs = _named(result)
            gradients = _gradients(outputs["output"], cotangent, tensors | self._parameters())
        return Reply(
            outputs={name: value.detach() for name, value in outputs.items()},
            arguments={name: value.detach() for name, value in tensors.items()},
            gradients={name: gradients[name] for name in tensors if name in gradients},
            parameter_gradients={name[1:]: value for name, value in gradients.items() if name.startswith(".")},
        )

    def _parameters(self) -> dict[str, Tensor]:
        # A leading dot keeps parameters apart from arguments of the same name.
        if not isinstance(self._built, nn.Module):
            return {}
        return {"." + self._component_name(name): value for name, value in self._built.named_parameters()}

    def state(self) -> Mapping[str, Tensor]:
        """See `Instance.state`."""
        if not isinstance(self._built, nn.Module):
            return {}
        return {self._component_name(name): value.detach().clone() for name, value in self._built.state_dict().items()}

    def parameters(self) -> frozenset[str]:
        """See `Instance.parameters`."""
        return frozenset(name[1:] for name, value in self._parameters().items() if value.requires_grad)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """See `Instance.load`."""
        own = self._built.state_dict() if isinstance(self._built, nn.Module) else {}
        by_component_name = {self._component_name(name): value for name, value in own.items()}
        with self._candidate._guarded(self._dtype, 0), torch.no_grad():
            for name, value in state.items():
                if name not in by_component_name:
                    raise KeyError(f"no parameter or buffer {name!r}; there are: {', '.join(by_component_name)}")
                if by_component_name[name].shape != value.shape:
                    raise ValueError(
                        f"{name} has shape {tuple(by_component_name[name].shape)}, not {tuple(value.shape)}"
                    )
                by_component_name[name].copy_(value)

    def _component_name(self, own: str) -> str:
        for component_name, prefix in self._candidate.program.weights.items():
            if own == prefix or own.startswith(prefix + "."):
                return component_name + own[len(prefix) :]
        return own


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


def _gradients(output: Tensor, cotangent: Tensor | None, sources: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if cotangent is None or not output.requires_grad:
        return {}
    wanted = {name: value for name, value in sources.items() if value.requires_grad}
    found = torch.autograd.grad(output, list(wanted.values()), cotangent, allow_unused=True)
    return {name: gradient for name, gradient in zip(wanted, found, strict=True) if gradient is not None}
