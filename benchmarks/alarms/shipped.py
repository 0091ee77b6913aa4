"""The adapters of `errata.checks.ready` that are constants."""

from benchmarks.alarms.implementation import Implementation
from errata.checks import Adapter
from errata.checks.ready import pytorch, x_transformers

IMPLEMENTATIONS = [
    Implementation(library, adapter, True, module.EXPECTED.get(adapter.name, {}))
    for library, module in (("torch", pytorch), ("x-transformers", x_transformers))
    for adapter in vars(module).values()
    if isinstance(adapter, Adapter)
]
