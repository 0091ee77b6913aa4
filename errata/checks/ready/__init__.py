"""Adapters that ship ready, one module a library: `pytorch`, `huggingface` and `x_transformers`.

Constants are adapters, functions make them. `EXPECTED` of each module says, by the adapter's name, which checks fail
and why that is the library's choice:

    from errata import checks
    from errata.checks.ready import pytorch

    adapter = pytorch.MULTI_HEAD_ATTENTION
    checks.run(adapter, expected_failures=pytorch.EXPECTED.get(adapter.name)).raise_if_failed()

Nothing in `errata.checks` imports this package, and the libraries are imported where they are used.
"""
