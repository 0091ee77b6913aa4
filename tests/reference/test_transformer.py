import itertools
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from reference import Transformer, causal_mask, padding_mask, sinusoids

B, S, T, D = 2, 5, 4, 12
SOURCE = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 0, 0, 0]])
TARGET = torch.tensor([[2, 7, 0, 0], [1, 8, 2, 8]])


def model(**options: object) -> Transformer:
    sizes = {"width": D, "heads": 3, "inner_width": 7, "layers": 2, "dropout": 0.0}
    return Transformer(11, 13, **(sizes | options))


def their_model(pre_norm: bool, dtype: torch.dtype) -> nn.Transformer:
    """`nn.Transformer` ends both stacks with a norm in post-LN too, where the paper has none: there it loses them."""
    theirs = nn.Transformer(D, 3, 2, 2, 7, 0.0, batch_first=True, norm_first=pre_norm, dtype=dtype)
    if not pre_norm:
        theirs.encoder.norm = theirs.decoder.norm = None
    return theirs


def stacks(module: Transformer | nn.Transformer) -> nn.ModuleDict:
    return nn.ModuleDict({"encoder": module.encoder, "decoder": module.decoder})


THEIR_MASKS = {
    "tgt_mask": ~causal_mask(T),
    "src_key_padding_mask": SOURCE == 0,
    "memory_key_padding_mask": SOURCE == 0,
    "tgt_key_padding_mask": TARGET == 0,
}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("masked", [True, False], ids=["masked", "unmasked"])
def test_stacks_equal_torch(agree: Callable[..., None], dtype: torch.dtype, pre_norm: bool, masked: bool) -> None:
    ours, theirs = model(pre_norm=pre_norm).to(dtype), their_model(pre_norm, dtype)
    source_mask = (SOURCE != 0)[:, None, None] if masked else None
    mask = causal_mask(T) & (TARGET != 0)[:, None, None] if masked else None
    agree(
        stacks(ours),
        stacks(theirs),
        [torch.randn(B, S, D, dtype=dtype), torch.randn(B, T, D, dtype=dtype)],
        lambda source, target: ours.decoder(target, ours.encoder(source, source_mask), mask, source_mask),
        lambda source, target: theirs(source, target, **(THEIR_MASKS if masked else {})),
    )


def test_all_is_done_on_the_device_of_the_ids() -> None:
    module, source, target = model().to("meta"), SOURCE.to("meta"), TARGET.to("meta")
    assert module(source, target).device.type == "meta"
    assert module.step(target, module.start(source)).device.type == "meta"


def test_no_work_is_done_at_the_padding_of_the_source() -> None:
    module, counts = model(), []
    module.encoder.layers[0].feed_forward.register_forward_hook(lambda _, inputs, __: counts.append(inputs[0].numel()))
    module(SOURCE, TARGET)
    assert counts == [D * int((SOURCE != 0).sum())]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_from_ids_to_logits_equals_torch(
    couple: Callable[..., object], equal: Callable[..., None], dtype: torch.dtype, pre_norm: bool
) -> None:
    ours, theirs = model(pre_norm=pre_norm).to(dtype), their_model(pre_norm, dtype)
    couple(stacks(ours), stacks(theirs))
    tables = ours.source_embedding.weight, ours.target_embedding.weight

    def embed(ids: Tensor, table: Tensor) -> Tensor:
        return D**0.5 * nn.functional.embedding(ids, table) + sinusoids(ids.shape[1], D, dtype=dtype)

    decoded = theirs(embed(SOURCE, tables[0]), embed(TARGET, tables[1]), **THEIR_MASKS)
    expected, actual = ours.output(decoded), ours(SOURCE, TARGET)
    equal(actual, expected)
    cotangent = torch.randn_like(expected)
    for our, their in zip(
        torch.autograd.grad(actual, tables, cotangent), torch.autograd.grad(expected, tables, cotangent), strict=True
    ):
        equal(our, their, "gradient of an embedding")


def attention_parameters(width: int, bias: bool) -> int:
    """W^Q, W^K, W^V: H matrices of D x D/H each; W^O: D x D (section 3.2.2)."""
    return 4 * (width * width + bias * width)


def layer_parameters(width: int, inner: int, attentions: int, bias: bool) -> int:
    feed_forward = width * inner + inner + inner * width + width  # W_1, b_1, W_2, b_2 (section 3.3)
    norms = (attentions + 1) * 2 * width  # a gain and a bias for each sub-layer (section 3.1)
    return attentions * attention_parameters(width, bias) + feed_forward + norms


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_base_configuration_has_the_parameters_of_the_paper() -> None:
    """One shared matrix of about 37000 rows (sections 3.4 and 5.1), then N = 6 layers of each kind."""
    vocabulary = 37000
    expected = vocabulary * 512 + 6 * (layer_parameters(512, 2048, 1, False) + layer_parameters(512, 2048, 2, False))
    assert expected == 63_045_632  # table 3 says 65 million, in round numbers
    with torch.device("meta"):
        base = Transformer.base(vocabulary)
    assert count(base) == expected
    assert {m.heads for m in base.modules() if hasattr(m, "heads")} == {8}
    assert {m.probability for m in base.modules() if hasattr(m, "probability")} == {0.1}
    assert base.padding_id == 0
    with torch.device("meta"):
        assert Transformer.base(vocabulary, padding_id=3).padding_id == 3


@pytest.mark.parametrize("pre", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_parameter_count_of_any_configuration(pre: bool, tied: bool, bias: bool) -> None:
    module = Transformer(
        11, 11 if tied else 13, width=12, heads=3, inner_width=7, layers=2, pre_norm=pre, tied=tied, attention_bias=bias
    )
    vocabularies = 11 * 12 if tied else 11 * 12 + 13 * 12 + (12 + 1) * 13
    layers = 2 * (layer_parameters(12, 7, 1, bias) + layer_parameters(12, 7, 2, bias))
    assert count(module) == vocabularies + layers + pre * 2 * 2 * 12


def test_layers_start_different_from_each_other() -> None:
    module = model(layers=3)
    for stack in (module.encoder, module.decoder):
        first, *others = stack.layers
        for name, parameter in first.named_parameters():
            if "norm" not in name:
                for other in others:
                    assert not torch.equal(parameter, other.get_parameter(name)), name


def test_the_same_seed_builds_the_same_model() -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(model())
    for first, second in zip(*(m.parameters() for m in models), strict=True):
        assert torch.equal(first, second)


def test_the_future_of_the_target_has_no_influence_at_all(pre_norm: bool) -> None:
    module = model(pre_norm=pre_norm)
    for t in range(1, T):
        target = TARGET.clone()
        target[:, t:] = 12
        full = torch.full((B, T), 5)
        full[:, t:] = 12
        kept = torch.full((B, T), 5)
        assert torch.equal(module(SOURCE, full)[:, :t], module(SOURCE, kept)[:, :t])
        assert (module(SOURCE, full)[:, t:] != module(SOURCE, kept)[:, t:]).any(-1).all()


def test_longer_padding_changes_nothing(pre_norm: bool) -> None:
    module = model(pre_norm=pre_norm).double()
    source = torch.nn.functional.pad(SOURCE, (0, 3))
    target = torch.nn.functional.pad(TARGET, (0, 2))
    torch.testing.assert_close(module(source, target)[:, :T], module(SOURCE, TARGET), rtol=0, atol=1e-12)


def test_sequences_of_a_batch_do_not_mix() -> None:
    module = model().double()
    together = module(SOURCE, TARGET)
    alone = module(SOURCE[1:, :2], TARGET[1:])
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-12)


def test_source_and_target_order_matter() -> None:
    module = model()
    expected = module(SOURCE, TARGET)
    assert not torch.allclose(module(SOURCE.flip(1), TARGET), expected)
    assert not torch.allclose(module(SOURCE, TARGET.roll(1, 1)).roll(-1, 1), expected)


def test_masks_from_lengths_equal_masks_from_ids() -> None:
    module = model()
    masks = padding_mask(torch.tensor([5, 2]), S), padding_mask(torch.tensor([2, 4]), T)
    assert torch.equal(module(SOURCE, TARGET, *masks), module(SOURCE, TARGET))
    assert not torch.equal(module(SOURCE, TARGET, padding_mask(torch.tensor([5, 3]), S)), module(SOURCE, TARGET))


def test_another_padding_id_anywhere_in_the_sequence() -> None:
    module = Transformer(13, 13, width=12, heads=3, inner_width=7, layers=2, dropout=0.0, padding_id=12)
    source, target = torch.tensor([[3, 12, 4, 0, 12]]), torch.tensor([[2, 12, 7, 12, 0]])
    before = module(source, target)
    with torch.no_grad():
        module.source_embedding.weight[12] += 1
        module.target_embedding.weight[12] += 1
    unchanged = (module(source, target) == before).all(-1)
    assert torch.equal(unchanged, target != 12)
    with torch.no_grad():
        module.source_embedding.weight[0] += 1
    assert (module(source, target) != before).any(-1).all()


def test_a_source_of_padding_alone_stays_finite_and_trains() -> None:
    module = model()
    module(torch.zeros_like(SOURCE), TARGET).pow(2).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def splits(length: int) -> list[list[int]]:
    """Every way to cut this length into chunks."""
    cuts = itertools.chain.from_iterable(itertools.combinations(range(1, length), n) for n in range(length))
    return [torch.tensor([0, *cut, length]).diff().tolist() for cut in cuts]


@pytest.mark.parametrize("masks", ["from ids", "given"])
def test_cached_steps_equal_the_forward_pass_for_every_split(pre_norm: bool, masks: str) -> None:
    """Padded sources, and padding anywhere in the target."""
    module = model(pre_norm=pre_norm).double().eval()
    target = torch.tensor([[2, 7, 0, 3, 0], [1, 8, 2, 8, 9]])
    source_mask = target_mask = None
    if masks == "given":
        source_mask, target_mask = padding_mask(torch.tensor([2, 5]), S), padding_mask(torch.tensor([5, 3]), 5)
    full = module(SOURCE, target, source_mask, target_mask)
    assert len(splits(5)) == 16
    for split in splits(5):
        state = module.start(SOURCE, source_mask)
        parts = [None] * len(split) if target_mask is None else target_mask.split(split, dim=3)
        steps = [module.step(ids, state, part) for ids, part in zip(target.split(split, 1), parts, strict=True)]
        torch.testing.assert_close(torch.cat(steps, dim=1), full, rtol=0, atol=1e-12, msg=f"split {split}")
        assert state.length == 5


def test_a_long_target_step_by_step(dtype: torch.dtype, equal: Callable[..., None]) -> None:
    """Beyond the room of the first cache."""
    module = model().to(dtype).eval()
    target = torch.randint(1, 13, (B, 150))
    with torch.inference_mode():
        state = module.start(SOURCE)
        steps = [module.step(ids, state) for ids in target.split([1] * 60 + [50] + [1] * 40, dim=1)]
        equal(torch.cat(steps, dim=1), module(SOURCE, target))


def test_one_source_mask_for_all_sequences_serves_each() -> None:
    module, mask = model().eval(), padding_mask(torch.tensor([3]), S)
    state = module.start(SOURCE, mask)
    state.select(torch.tensor([1, 1, 0]))
    expected = module(SOURCE[[1, 1, 0]], TARGET[[1, 1, 0]], mask)
    torch.testing.assert_close(module.step(TARGET[[1, 1, 0]], state), expected)


def test_two_states_of_one_model_do_not_mix() -> None:
    module = model().double().eval()
    first, second = module.start(SOURCE), module.start(SOURCE.flip(0))
    for t in range(T):
        one, two = (module.step(TARGET[:, t : t + 1], state) for state in (first, second))
    torch.testing.assert_close(one, module(SOURCE, TARGET)[:, -1:], rtol=0, atol=1e-12)
    torch.testing.assert_close(two, module(SOURCE.flip(0), TARGET)[:, -1:], rtol=0, atol=1e-12)


def test_tied_model_shares_one_matrix() -> None:
    module = Transformer(11, 11, width=12, heads=3, inner_width=7, layers=1, tied=True)
    assert module.source_embedding.weight is module.target_embedding.weight is module.output.weight
    assert module.output.bias is None


@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_gets_a_gradient(pre_norm: bool, tied: bool) -> None:
    module = Transformer(13, 13, width=12, heads=3, inner_width=7, layers=2, pre_norm=pre_norm, tied=tied)
    module(SOURCE, TARGET).pow(3).sum().backward()
    # The bias of a key adds the same to every score of a row, so the softmax ignores it.
    without = [name for name, p in module.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-9]
    assert [name for name in without if not name.endswith("key.bias")] == []


def test_dropout_acts_in_training_only() -> None:
    module = model(dropout=0.3)
    assert not torch.equal(module(SOURCE, TARGET), module(SOURCE, TARGET))
    module.eval()
    assert torch.equal(module(SOURCE, TARGET), module(SOURCE, TARGET))


def test_it_learns_to_copy_backwards() -> None:
    """Three random words, reversed: only attention with positions can do it; chance has a loss of 2.3."""
    module = Transformer(12, 12, width=24, heads=2, inner_width=48, layers=1, dropout=0.0, pre_norm=True, tied=True)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(120):
        words = torch.randint(2, 12, (32, 3))
        answer = words.flip(1)
        start = torch.nn.functional.pad(answer[:, :-1], (1, 0), value=1)
        loss = nn.functional.cross_entropy(module(words, start).flatten(0, 1), answer.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"heads": 5}, "width 12 cannot be split into 5 heads: heads must divide width"),
        ({"inner_width": 0}, "inner_width must be at least 1, got 0"),
        ({"dropout": 1.5}, r"dropout must be a probability between 0 and 1, got 1\.5"),
        ({"tied": True}, "tied needs one vocabulary, got sizes 11 and 13"),
    ],
)
def test_bad_arguments(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**options)


GRAPHS = """
import torch
from reference import BatchNorm, PositionalEncoding, Transformer, sinusoids

torch.manual_seed(0)
model = Transformer(11, 11, width=12, heads=3, inner_width=7, layers=1, tied=True)
source, target = torch.randint(1, 11, (2, 5)), torch.randint(1, 11, (2, 4))
source[1, 3:] = 0

compiled = torch.compile(model, backend="eager", fullgraph=True)
compiled(source, target).sum().backward()  # in training, dropout included
model.eval()
torch.testing.assert_close(compiled(source, target), model(source, target))

longer = torch.randint(1, 11, (3, 9)), torch.randint(1, 11, (3, 7))
batch, s, t = (torch.export.Dim(name, min=2, max=64) for name in ("batch", "s", "t"))
exported = torch.export.export(model, (source, target), dynamic_shapes=({0: batch, 1: s}, {0: batch, 1: t}))
torch.testing.assert_close(exported.module()(*longer), model(*longer))

norm, x = BatchNorm(4), torch.randn(2, 3, 4)
twin = BatchNorm(4)
out = torch.compile(norm, backend="eager", fullgraph=True)(x, x[..., 0] > -1)
torch.testing.assert_close(out, twin(x, x[..., 0] > -1))
torch.testing.assert_close(norm.running_variance, twin.running_variance)

positions = PositionalEncoding(5, length=2)  # the table grows inside the graph
grown = torch.compile(positions, backend="eager", fullgraph=True)(torch.zeros(1, 6, 5))
torch.testing.assert_close(grown[0], sinusoids(6, 5))
print("all graphs equal")
"""


def test_compiles_to_one_graph_and_exports_with_dynamic_sizes() -> None:
    """In a process of its own, since the shape checks of this one cannot be traced."""
    run = subprocess.run([sys.executable, "-c", GRAPHS], capture_output=True, text=True, check=False)
    assert run.stdout == "all graphs equal\n", run.stderr
