"""Programs, run in this process."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from errata.candidates.callables import CallableInstance, guarded, innermost_place
from errata.candidates.candidate import Scalar
from errata.candidates.program import Program
from errata.candidates.weights import Prefixes


class LocalCandidate:
    """A `Program`, run in this process. For trusted code only."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.name = program.name
        self.traits = program.traits | ({"weights"} if program.weights else frozenset())

    def build(self, config: Mapping[str, Scalar], *, dtype: str = "float64", seed: int = 0) -> CallableInstance:
        """See `Candidate.build`."""
        with guarded(dtype, seed, self._place):
            build, call = self._adapter.get("build"), self._adapter["call"]
            built = build(**config) if build else None
            return CallableInstance(call, built, dtype, Prefixes(self.program.weights), self._place)

    @cached_property
    def _adapter(self) -> dict[str, Any]:
        """What the sources and the adapter define."""
        namespace: dict[str, Any] = {"__name__": self.program.name}
        *definitions, last = self.program.sources
        for source in definitions:
            exec(source.compile(), namespace)
        if self.program.script:
            namespace["script"] = _script(last.compile(), namespace)
        else:
            exec(last.compile(), namespace)
        # The adapter sees what the sources define, and they see nothing of it: it may import what they forgot.
        scope = dict(namespace)
        exec(compile(self.program.adapter, f"<adapter of {self.name}>", "exec", dont_inherit=True), scope)
        return scope

    def _place(self, error: BaseException) -> str | None:
        return innermost_place(error, frozenset(source.file for source in self.program.sources))


def _script(code: Any, namespace: Mapping[str, Any]) -> Callable[..., dict[str, Any]]:
    """A function that runs the code with further names bound, and returns its namespace."""

    def script(**names: Any) -> dict[str, Any]:
        scope = {**namespace, **names}
        exec(code, scope)
        return scope

    return script
