"""Defects: named ways to get the reference wrong, each a small edit of its source.

One TOML file a component says how its reference is called, and lists the defects with the checks that must catch
them. The reference is read here as text, never imported: a defect is a program like any other candidate.
"""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files

from errata.candidates import Program, Source
from errata.candidates.binding import Binding
from errata.candidates.edit import Edit, edited
from errata.tables import Table, read

READABLE_TWINS = {
    "attention": Edit(old="if bias is None and may_steer(mask) and bool(mask.any(dim=-1).all()):", new="if False:"),
    "dropout": Edit(old="return fast_dropout(x", new="return dropout(x"),
    "encoder": Edit(old="layer(x, mask, skip_padding=skip_padding)", new="layer(x, mask)"),
    "layer_norm": Edit(
        old="return nn.functional.layer_norm(x, self.gain.shape, self.gain, self.bias, self.eps)",
        new="return self.stepwise(x)",
    ),
    "transformer": Edit(
        old="self.encode(source, source_mask, skip_padding=True)", new="self.encode(source, source_mask)"
    ),
}
"""Where a fast path stands beside a readable one, defects are planted in the latter, and a mutant runs that alone."""


class Defect(Table):
    """One edit of the reference.

    Attributes:
        name: what is wrong, in kebab case; unique within the component.
        module: the module of `reference` that is edited, e.g. ``masks`` or ``training.loss``.
        old: text that occurs exactly once in it.
        new: what stands there instead.
        kills: ids of the checks that must fail because of it.
    """

    name: str
    module: str
    old: str
    new: str
    kills: tuple[str, ...]


class Component(Table):
    """A component's reference and its defects.

    Attributes:
        module: the module of `reference` that implements it.
        binding: how it is called.
        defect: its defects.
    """

    module: str
    binding: Binding
    defect: tuple[Defect, ...] = ()

    def reference(self) -> Program:
        """The reference as a candidate."""
        return self._program("reference", None)

    def mutant(self, defect: Defect) -> Program:
        """The reference with one defect as a candidate.

        Raises:
            ErrataError: when the defect's ``old`` text does not occur exactly once.
        """
        return self._program(defect.name, defect)

    def _program(self, name: str, defect: Defect | None) -> Program:
        sources = []
        for module in _needed(self.module):
            source = _without_own_imports(_text(module), f"reference/{module_path(module)}")
            if defect and module == defect.module:
                twin = [READABLE_TWINS[module]] if module in READABLE_TWINS else []
                readable = edited(source, twin, source.file)
                source = edited(readable, [Edit(old=defect.old, new=defect.new)], f"{source.file}, defect {name}")
            sources.append(source)
        return self.binding.program(f"{self.binding.component} with {name}", sources)


@cache
def components() -> dict[str, Component]:
    """Every component that has a reference, by name."""
    tables = (file for file in files("errata.defects").iterdir() if file.name.endswith(".toml"))
    read_in_order = (read(file, Component) for file in sorted(tables, key=lambda file: file.name))
    return {component.binding.component: component for component in read_in_order}


def _needed(module: str) -> list[str]:
    """The modules of `reference` that this one is built from, itself last."""
    graph: dict[str, list[str]] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in graph:
            graph[name] = [own for _, own in _own_imports(ast.parse(_text(name)))]
            waiting += graph[name]
    return list(TopologicalSorter(graph).static_order())


@cache
def _text(module: str) -> str:
    return files("reference").joinpath(module_path(module)).read_text(encoding="utf-8")


def module_path(module: str) -> str:
    """Where a module of `reference` lies in it."""
    return f"{module.replace('.', '/')}.py"


def _own_imports(tree: ast.Module) -> Iterator[tuple[ast.ImportFrom, str]]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reference."):
            yield node, (node.module or "").removeprefix("reference.")


def _without_own_imports(text: str, file: str) -> Source:
    """The module with its imports from `reference` blanked: the modules share one namespace instead."""
    lines = text.split("\n")
    for node, _ in _own_imports(ast.parse(text)):
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            lines[number - 1] = ""
        lines[node.lineno - 1] = "; ".join(f"{name.asname} = {name.name}" for name in node.names if name.asname)
    return Source.whole("\n".join(lines), file)
