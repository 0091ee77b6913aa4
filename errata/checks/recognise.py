"""An adapter for a bare class or function, from its name and the names of its parameters.

The names are those that public code uses. What they do not settle is not guessed: the error says what to write down in
an adapter.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from errata.checks import adapters
from errata.checks.adapters.adapter import Adapter
from errata.checks.locate import find_object
from errata.errors import ErrataError

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "multi_head_attention": ("multihead", "mha"),
    "encoder_layer": ("encoderlayer", "encoderblock", "transformerblock"),
    "rms_norm": ("rmsnorm",),
    "layer_norm": ("layernorm", "layernormalization"),
    "batch_norm": ("batchnorm", "batchnorm1d"),
    "feed_forward": ("feedforward", "positionwisefeedforward", "ffn", "mlp"),
    "positional_encoding": ("positionalencoding", "sinusoidal", "positionencoding"),
    "attention": ("scaleddotproductattention", "attention"),
    "causal_mask": ("causalmask", "subsequentmask", "lookaheadmask"),
    "transformer": ("transformer",),
}
"""Components by what their names contain, without underscores and case; an earlier entry wins."""

SIZES: Mapping[str, tuple[str, ...]] = {
    "width": (
        "width", "d_model", "embed_dim", "embed_size", "hidden_size", "hidden_dim", "dim", "n_embd", "emb_dim",
        "features", "size", "normalized_shape", "num_features",
    ),
    "heads": ("heads", "num_heads", "n_heads", "nhead", "n_head", "num_head", "h", "head_num"),
    "hidden": ("hidden", "d_ff", "dff", "d_hidden", "inner_dim", "dim_feedforward", "ff_dim", "d_inner", "inner_width"),
    "eps": ("eps", "epsilon", "variance_epsilon"),
    "vocabulary": ("vocabulary", "vocab_size", "vocab", "ntoken"),
    "layers": ("layers", "num_layers", "n_layers", "n_layer", "depth"),
}  # fmt: skip
"""Parameters of constructors by what public code calls them."""

INPUTS: Mapping[str, tuple[str, ...]] = {
    "query": ("query", "q", "queries", "x_q"),
    "key": ("key", "k", "keys"),
    "value": ("value", "v", "values"),
    "x": ("x", "src", "input", "inputs", "hidden_states", "tensor"),
    "mask": ("mask", "attn_mask", "attention_mask", "src_mask", "msk"),
    "length": ("length", "size", "seq_len", "sz", "n", "seq_length", "t"),
    "source": ("source", "src", "src_ids", "input_ids"),
    "target": ("target", "tgt", "trg", "decoder_input_ids", "tgt_ids"),
    "source_mask": ("source_mask", "src_mask", "src_padding_mask", "src_key_padding_mask"),
}
"""Parameters of calls."""

ROUTINE: Mapping[str, Any] = {"dropout": 0.1, "drop": 0.1, "p": 0.1, "dropout_rate": 0.1, "max_len": 5000, "bias": True}
"""Parameters of constructors that mean the same everywhere, where they have no default."""

PYTORCHS_OWN: Mapping[str, str] = {
    "attention": "SCALED_DOT_PRODUCT_ATTENTION",
    "multi_head_attention": "MULTI_HEAD_ATTENTION",
    "encoder_layer": "ENCODER_LAYER",
    "batch_norm": "BATCH_NORM",
    "transformer": "TRANSFORMER",
}
"""Components that PyTorch has with conventions that no name tells, and the ready adapter that states them."""

PROJECTIONS: Mapping[str, tuple[str, ...]] = {
    "query": ("query", "w_q", "wq", "q_proj", "q_linear", "linear_q", "fc_q", "to_q", "q", "queries", "w_query"),
    "key": ("key", "w_k", "wk", "k_proj", "k_linear", "linear_k", "fc_k", "to_k", "k", "keys", "w_key"),
    "value": ("value", "w_v", "wv", "v_proj", "v_linear", "linear_v", "fc_v", "to_v", "v", "values", "w_value"),
    "output": ("output", "w_o", "wo", "o_proj", "out_proj", "out", "fc_out", "fc", "to_out", "o", "linear_out", "proj"),
}
"""The four linear layers of multi-head attention."""


def find(address: str, **conventions: str) -> Adapter:
    """The adapter at ``package.module:name``, or one for the class or function there.

    Args:
        address: where it is.
        conventions: for a class or function: ``component``, where its name does not say what it is, and fields of the
            adapter, such as ``mask``.

    Raises:
        ErrataError: when there is nothing, or nothing that can be checked.
    """
    found = find_object(address)
    if isinstance(found, Adapter):
        if conventions:
            raise ErrataError(f"{address} is an adapter, which says itself what {', '.join(conventions)} is")
        return replace(found, origin={"address": address})
    adapter = recognise(found, address, **conventions)
    return replace(adapter, origin={"address": address, **conventions})


def recognise(target: Any, where: str, component: str | None = None, **conventions: Any) -> Adapter:
    """The adapter of a class, of a module class or of a function.

    Args:
        target: the class or function.
        where: its address, for messages.
        component: what it is; by default its name tells.
        conventions: fields of the adapter, such as ``mask``.

    Raises:
        ErrataError: when its name or a parameter does not say enough, with the remedy.
    """
    if not callable(target):
        raise ErrataError(f"{where} is no class, no function and no adapter: name one of these")
    component = component or _component(target, where)
    kind = _adapter_class(component, where)
    if component in PYTORCHS_OWN and target.__module__.startswith("torch."):
        ready = f"errata.checks.ready.pytorch:{PYTORCHS_OWN[component]}"
        raise ErrataError(f"{where}: its names do not tell the layout and the masks; there is --adapter {ready}")
    try:
        inspect.signature(target)
    except ValueError:
        raise ErrataError(
            f"{where} does not tell its parameters: write an adapter and name it with --adapter"
        ) from None
    fields: dict[str, Any] = {"name": getattr(target, "__name__", where), **conventions}
    if not inspect.isclass(target):
        return kind(call=_by_name(target, kind.inputs, where), **fields)
    forward = target.forward if issubclass(target, nn.Module) else target.__call__
    sizes = ("width",) if component == "positional_encoding" else kind.sizes
    inputs = ("x",) if component == "positional_encoding" else kind.inputs
    build = _builder(target, sizes, where)
    names = _parameters(forward)[1:]
    if component == "multi_head_attention" and not _found("key", names, INPUTS):
        fields["self_only"] = True
        inputs = ("x", "mask")
    if "mask" in inputs and not _found("mask", names, INPUTS):
        fields["mask"] = "none"
        inputs = tuple(name for name in inputs if name != "mask")
    order = _order(inputs, names, _required(forward)[1:], INPUTS, where)
    fields |= _weights(component, target, build)
    return kind(build=build, call=_method(order), **fields)


def _component(target: Any, where: str) -> str:
    name = getattr(target, "__name__", "").replace("_", "").lower()
    if "attention" in name and inspect.isclass(target) and _found("heads", _parameters(target), SIZES):
        return "multi_head_attention"  # whatever stands in front of the word
    for component, parts in COMPONENTS.items():
        if any(part in name for part in parts):
            return component
    raise ErrataError(f"{where}: its name does not say what it is; say --component, one of {', '.join(_classes())}")


def _classes() -> dict[str, type[Adapter]]:
    kinds: list[type[Adapter]] = [getattr(adapters, name) for name in adapters.__all__]
    return {kind.component: kind for kind in kinds if kind is not Adapter and issubclass(kind, Adapter)}


def _adapter_class(component: str, where: str) -> type[Adapter]:
    classes = _classes()
    if component not in classes:
        raise ErrataError(f"{where}: no component is called {component!r}; choose one of {', '.join(sorted(classes))}")
    return classes[component]


def _parameters(function: Any) -> list[str]:
    return [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]


def _required(function: Any) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


def _found(name: str, parameters: list[str], synonyms: Mapping[str, tuple[str, ...]]) -> str | None:
    lower = {parameter.lower(): parameter for parameter in parameters}
    return next((lower[word] for word in synonyms.get(name, (name,)) if word in lower), None)


def _order(
    wanted: tuple[str, ...],
    parameters: list[str],
    required: list[str],
    synonyms: Mapping[str, tuple[str, ...]],
    where: str,
) -> dict[str, int]:
    """For each parameter that gets something, the place of what it gets among the wanted."""
    found = {name: _found(name, parameters, synonyms) for name in wanted}
    missing = [name for name, parameter in found.items() if parameter is None and name != "eps"]
    if missing:
        raise ErrataError(
            f"{where}: none of its parameters {', '.join(parameters) or '(none)'} is called like {missing[0]!r}: "
            "write an adapter and name it with --adapter"
        )
    taken = {parameter: wanted.index(name) for name, parameter in found.items() if parameter}
    unknown = [name for name in required if name not in taken and name not in ROUTINE]
    if unknown:
        raise ErrataError(f"{where}: what its parameter {unknown[0]!r} takes is not known: write an adapter, --adapter")
    return taken


def _builder(target: Any, sizes: tuple[str, ...], where: str) -> Callable[..., Any]:
    parameters, required = _parameters(target), _required(target)
    order = _order(sizes, parameters, required, SIZES, where)
    routine = {name: ROUTINE[name] for name in required if name in ROUTINE and name not in order}
    if "batch_first" in parameters:
        routine["batch_first"] = True

    def build(*given: Any) -> Any:
        return target(**{name: given[place] for name, place in order.items()}, **routine)

    return build


def _method(order: Mapping[str, int]) -> Callable[..., Any]:
    def call(built: Any, *given: Any) -> Any:
        return _first(built(**{name: given[place] for name, place in order.items()}))

    return call


def _by_name(function: Any, inputs: tuple[str, ...], where: str) -> Callable[..., Any]:
    order = _order(inputs, _parameters(function), _required(function), INPUTS, where)

    def call(*given: Any) -> Any:
        return _first(function(**{name: given[place] for name, place in order.items()}))

    return call


def _first(result: Any) -> Any:
    """The output alone, where weights come with it."""
    return result[0] if isinstance(result, tuple) and result else result


def _weights(component: str, target: Any, build: Callable[..., Any]) -> dict[str, Any]:
    """The four projections, where all of them are linear layers of usual names."""
    if component != "multi_head_attention" or not issubclass(target, nn.Module):
        return {}
    try:
        module = build(4, 2)
    except Exception:
        return {}  # the checks will say so
    linears = [name for name, part in module.named_children() if isinstance(part, nn.Linear)]
    found = {name: _found(name, linears, PROJECTIONS) for name in PROJECTIONS}
    square = all(name and module.get_submodule(name).weight.shape == (4, 4) for name in found.values())
    return {"weights": found} if square else {}
