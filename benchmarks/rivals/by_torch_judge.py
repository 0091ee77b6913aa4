"""torch-judge: the tests of its tasks, each on a component that an adapter of a few lines gives the expected form.

The tests are run as `torch_judge.check` runs them, without its record of a learner's progress. Left out are tasks that
no component here is: other layers (SwiGLU, RMSNorm, grouped-query, linear attention, experts), losses, tokenisation.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import scaled_dot_product_attention
from torch_judge.tasks import get_task

from benchmarks.rivals.harness import Verdicts, passes
from benchmarks.rivals.views import HIDDEN, Names, past_of
from errata.candidates import Program

Adapter = Callable[[Names], Any]


def judge(component: str, program: Program, _: Sequence[str] = ()) -> Verdicts:
    """Run the tests of every task that fits the component."""
    for task, adapter in TASKS.get(component, []):
        yield from _tested(task, partial(_given, adapter, program))


def _given(adapter: Adapter, program: Program) -> Any:
    return adapter(Names(program))


def _tested(task: str, make: Callable[[], Any]) -> Verdicts:
    known = get_task(task)
    name = known["function_name"]
    for test in known["tests"]:
        code = compile(test["code"].replace("{fn}", name), f"<test:{test['name']}>", "exec")
        yield f"{task}: {test['name']}", passes(lambda code=code: exec(code, {name: make()}))


def attention(names: Names) -> Any:
    """Attention without a mask."""
    return lambda q, k, v: names["call"](q, k, v, None)["output"]


def causal_attention(names: Names) -> Any:
    """Attention under a causal mask of the adapter's."""
    return lambda q, k, v: names["call"](q, k, v, past_of(q))["output"]


def sliding_window(names: Names) -> Any:
    """Attention under a mask of the near positions."""

    def attend(q: Tensor, k: Tensor, v: Tensor, window_size: int) -> Tensor:
        place = torch.arange(q.shape[1])
        near = (place[:, None] - place).abs() <= window_size
        output: Tensor = names["call"](q, k, v, near.expand(len(q), -1, -1))["output"]
        return output

    return attend


def softmax(names: Names) -> Any:
    """The softmax of the attention, over the last axis."""
    return lambda x, dim=-1: names["masked_softmax"](x)


def multi_head(names: Names) -> Any:
    """The projections under the names that the task expects."""

    class MultiHeadAttention(nn.Module):
        def __init__(self, d_model: int, num_heads: int) -> None:
            super().__init__()
            self.built = names["build"](d_model, num_heads)
            self.W_q, self.W_k, self.W_v = self.built.query, self.built.key, self.built.value
            self.W_o = self.built.output

        def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            output: Tensor = names["call"](self.built, query, key, value, None)["output"]
            return output

    return MultiHeadAttention


def multi_head_cross(names: Names) -> Any:
    """Queries from one sequence, keys and values from another."""

    class MultiHeadCrossAttention(multi_head(names)):  # type: ignore[misc]
        def forward(self, x_q: Tensor, x_kv: Tensor) -> Tensor:
            return super().forward(x_q, x_kv, x_kv)

    return MultiHeadCrossAttention


def causal_from_mask(names: Names) -> Any:
    """Torch's attention under the mask of the component."""
    return lambda q, k, v: scaled_dot_product_attention(q, k, v, attn_mask=names["call"](q.shape[1]))


def causal_from_scores(names: Names) -> Any:
    """Attention by hand, its scores masked by the component."""
    return lambda q, k, v: names["call"](q @ k.mT / q.shape[-1] ** 0.5, past_of(q), 1.0)["output"].softmax(dim=-1) @ v


def layer_norm(names: Names) -> Any:
    """The layer as a function of its parameters."""

    def normalise(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
        output: Tensor = functional_call(names["build"](x.shape[-1], eps), {"gain": gamma, "bias": beta}, (x,))
        return output

    return normalise


def batch_norm(names: Names) -> Any:
    """The layer as a function of its parameters and statistics."""

    def normalise(
        x: Tensor, gamma: Tensor, beta: Tensor, running_mean: Tensor, running_var: Tensor,
        eps: float = 1e-5, momentum: float = 0.1, training: bool = True,
    ) -> Tensor:  # fmt: skip
        layer = names["BatchNorm"](x.shape[-1], eps, momentum).train(training)
        state = {"gain": gamma, "bias": beta, "running_mean": running_mean, "running_variance": running_var}
        output: Tensor = functional_call(layer, state, (x,))
        return output

    return normalise


def rope(names: Names) -> Any:
    """Queries and keys of one head."""

    def turn(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        turned = names["call"](names["build"](q.shape[-1]), q[:, None], k[:, None])
        return turned["output"][:, 0], turned["key"][:, 0]

    return turn


def lora(names: Names) -> Any:
    """The parameters under the names that the task expects."""

    class LoRALinear(nn.Module):
        def __init__(self, in_features: int, out_features: int, rank: int, alpha: float = 1.0) -> None:
            super().__init__()
            self.built = names["build"](in_features, out_features, rank, alpha, 0.0)
            self.linear, self.lora_A, self.lora_B = self.built.base, self.built.down, self.built.up

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = names["call"](self.built, x, 0)
            return output

    return LoRALinear


def dropout(names: Names) -> Any:
    """The module itself."""
    return lambda p: names["build"](p)


def cross_entropy(names: Names) -> Any:
    """The loss of one sequence without padding."""
    return lambda logits, targets: names["call"]((0.0, -1), logits[None], targets[None])


def gpt2_block(names: Names) -> Any:
    """A layer under a causal mask; its norms stand elsewhere than the task expects."""

    class GPT2Block(nn.Module):
        def __init__(self, d_model: int, num_heads: int) -> None:
            super().__init__()
            self.built = names["build"](d_model, num_heads, HIDDEN).eval()  # the task knows no dropout

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = names["call"](self.built, x, past_of(x))
            return output

    return GPT2Block


def gpt2_block_with_memory(names: Names) -> Any:
    """The same of a layer that also attends a constant memory."""

    class GPT2Block(gpt2_block(names)):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = names["call"](self.built, x, torch.ones(len(x), 3, x.shape[-1]), past_of(x), None)
            return output

    return GPT2Block


def kv_cache(names: Names) -> Any:
    """The attention of the model with its own cache; what is handed from step to step is read from that cache."""

    class KVCacheAttention(nn.Module):
        def __init__(self, d_model: int, num_heads: int) -> None:
            super().__init__()
            self.built = names["MultiHeadAttention"](d_model, num_heads)

        def forward(self, x: Tensor, cache: tuple[Tensor, Tensor] | None = None) -> Any:
            kept = names["KeyValueCache"]()
            if cache:
                kept.append(*cache)
            new = self.built.project(x, x)
            # A cache is for inference, so a first call, which the task differentiates, attends what it projects.
            past = kept.append(*new) if cache else new
            total = past[0].shape[2]
            mask = torch.ones(total, total, dtype=torch.bool).tril()[total - x.shape[1] :]
            return self.built.attend(x, *past, mask), past

    return KVCacheAttention


class _Prefixes:
    """A scorer of prefixes, as the task has it, for rows of hypotheses, as the component has it."""

    def __init__(self, scores: Callable[[Tensor], Tensor], beams: int) -> None:
        self.scores = scores
        self.rows: list[list[int]] = [[] for _ in range(beams)]

    def __call__(self, ids: Tensor) -> Tensor:
        for row, newest in zip(self.rows, ids.tolist(), strict=True):
            row.append(newest)
        return torch.stack([self.scores(torch.tensor(row)) for row in self.rows])

    def select(self, rows: Tensor) -> None:
        self.rows = [list(self.rows[row]) for row in rows.tolist()]


def beam_search(names: Names) -> Any:
    """The search over logits of prefixes."""

    def search(log_prob_fn: Any, start_token: int, max_len: int, beam_width: int, eos_token: int) -> list[int]:
        found = names["beam_search"](
            _Prefixes(log_prob_fn, beam_width), torch.tensor([start_token]), beams=beam_width, end_id=eos_token,
            padding_id=eos_token, max_length=max_len - 1, alpha=0.0,
        )  # fmt: skip
        return [start_token, *_ended(found.ids[0, 0].tolist(), eos_token)]

    return search


def greedy_search(names: Names) -> Any:
    """Greedy search in the place of a beam search with one beam."""

    def search(log_prob_fn: Any, start_token: int, max_len: int, beam_width: int, eos_token: int) -> list[int]:
        ids = names["greedy_search"](
            _Prefixes(log_prob_fn, 1), torch.tensor([start_token]), end_id=eos_token, padding_id=eos_token,
            max_length=max_len - 1,
        )  # fmt: skip
        return [start_token, *_ended(ids[0].tolist(), eos_token)]

    return search


def _ended(ids: list[int], end: int) -> list[int]:
    """The ids up to the first end, without the padding behind it."""
    return ids[: ids.index(end) + 1] if end in ids else ids


def adam(names: Names) -> Any:
    """Adam with the constants of the component."""
    return lambda parameters, lr, betas=(0.9, 0.999), eps=1e-8: names["adam"](parameters, lr)


def cosine(names: Names) -> Any:
    """The learning rate at one step."""

    def rate(step: int, total_steps: int, warmup_steps: int, max_lr: float, min_lr: float = 0.0) -> float:
        """The component has no warm-up: the adapter rises in a line, and asks it for the rest."""
        if step < warmup_steps:
            return max_lr * step / warmup_steps
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=max_lr)
        schedule = names["cosine_with_restarts"](optimizer, total_steps - warmup_steps, lowest=min_lr)
        for _ in range(step - warmup_steps):
            optimizer.step()
            schedule.step()
        return float(optimizer.param_groups[0]["lr"])

    return rate


def clip(names: Names) -> Any:
    """Clipping in place, and the norm from before."""
    return lambda parameters, max_norm: names["clip_gradients"](parameters, max_norm).item()


def accumulate(names: Names) -> Any:
    """One update from several parts of a batch."""

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, loss_fn: Any, micro_batches: Any) -> float:
        optimizer.zero_grad()
        examples = sum(len(x) for x, _ in micro_batches)
        losses = (len(x) * loss_fn(model(x), y) for x, y in micro_batches)
        mean = names["accumulate_gradients"](losses, examples)
        optimizer.step()
        return float(mean)

    return step


def int8_linear(names: Names) -> Any:
    """A layer whose weight the component quantises, each row by itself."""

    class Int8Linear(nn.Module):
        def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
            super().__init__()
            self.quantiser = names["AffineQuantiser"].covering(weight, bits=8, symmetric=True, axis=0)
            self.register_buffer("weight_int8", self.quantiser.quantise(weight))
            self.register_buffer("scale", self.quantiser.scale)
            self.bias = bias

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.quantiser.dequantise(self.weight_int8), self.bias)

    return Int8Linear


def patches(names: Names) -> Any:
    """The embedding of square images."""

    class PatchEmbedding(nn.Module):
        def __init__(self, img_size: int, patch_size: int, in_channels: int, embed_dim: int) -> None:
            super().__init__()
            self.built = names["build"](img_size, img_size, patch_size, in_channels, embed_dim)
            self.num_patches = len(self.built.positions)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = names["call"](self.built, x)
            return output

    return PatchEmbedding


TASKS: Mapping[str, list[tuple[str, Adapter]]] = {
    "attention": [
        ("attention", attention), ("causal_attention", causal_attention), ("sliding_window", sliding_window),
        ("softmax", softmax),
    ],
    "multi_head_attention": [("mha", multi_head), ("cross_attention", multi_head_cross)],
    "causal_mask": [("causal_attention", causal_from_mask)],
    "score_mask": [("causal_attention", causal_from_scores)],
    "layer_norm": [("layernorm", layer_norm)],
    "batch_norm": [("batchnorm", batch_norm)],
    "rotary_embedding": [("rope", rope)],
    "lora": [("lora", lora)],
    "dropout": [("dropout", dropout)],
    "sequence_loss": [("cross_entropy", cross_entropy)],
    "encoder_layer": [("gpt2_block", gpt2_block)],
    "decoder_layer": [("gpt2_block", gpt2_block_with_memory)],
    "incremental_decoding": [("kv_cache", kv_cache)],
    "beam_search": [("beam_search", beam_search)],
    "greedy_search": [("beam_search", greedy_search)],
    "optimizer": [("adam", adam)],
    "periodic_schedule": [("cosine_lr", cosine)],
    "gradient_clipping": [("gradient_clipping", clip)],
    "gradient_accumulation": [("gradient_accumulation", accumulate)],
    "affine_quantiser": [("int8_quantization", int8_linear)],
    "patch_embedding": [("vit_patch", patches)],
}  # fmt: skip
