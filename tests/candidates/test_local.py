import warnings

import pytest
import torch

from errata.candidates import CandidateError, LocalCandidate, Program, Source


def candidate(code: str, adapter: str = "def call(x): return f(x)", first_line: int = 1, **fields) -> LocalCandidate:
    lines = tuple(range(first_line, first_line + code.count("\n") + 1))
    return LocalCandidate(Program("snippet", (Source(code, "doc.md", lines),), adapter, **fields))


def call(code: str, x: torch.Tensor, **options):
    return candidate(code).build({}).call({"x": x}, **options)


LAYER = """
import torch
from torch import nn
class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, 2)
        self.gamma = nn.Parameter(torch.ones(2))
        self.drop = nn.Dropout(0.5)
    def forward(self, x):
        return self.drop(self.fc(x)) * self.gamma
"""
LAYER_ADAPTER = "def build(width): return Layer(width)\ndef call(layer, x): return layer(x)"
NAMES = {"linear": "fc", "gain": "gamma"}


def layer(**config):
    return candidate(LAYER, LAYER_ADAPTER, weights=NAMES).build(config or {"width": 3})


def test_tensors_go_in_and_come_out() -> None:
    assert torch.equal(call("def f(x): return x + 1", torch.zeros(2)).output, torch.ones(2))


def test_named_outputs() -> None:
    reply = call("def f(x): return {'output': x, 'weights': x * 2}", torch.ones(1))
    assert torch.equal(reply.outputs["weights"], torch.tensor([2.0]))


def test_what_is_not_a_tensor_is_an_error() -> None:
    with pytest.raises(CandidateError, match="output is a tuple, not a tensor"):
        call("def f(x): return (x, x)", torch.ones(1))


def test_an_exception_points_into_the_document() -> None:
    with pytest.raises(CandidateError) as caught:
        candidate("def f(x):\n    return np.sqrt(x)", first_line=25).build({}).call({"x": torch.ones(1)})
    assert (caught.value.kind, caught.value.place) == ("NameError", "doc.md:26")


def test_a_syntax_error_points_into_the_document() -> None:
    with pytest.raises(CandidateError) as caught:
        candidate("x = 1\ndef f(x:\n", first_line=25).build({})
    assert (caught.value.kind, caught.value.place) == ("SyntaxError", "doc.md:26")


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import no_such_module", "1 / 0"])
def test_code_that_does_not_run_is_an_error_at_build(code: str) -> None:
    with pytest.raises(CandidateError, match=r"doc\.md:1"):
        candidate(code).build({})


def test_the_caller_keeps_its_tensors_and_sees_what_became_of_the_copies() -> None:
    x = torch.zeros(2)
    reply = call("def f(x): return x.add_(1)", x)
    assert torch.equal(x, torch.zeros(2))
    assert torch.equal(reply.arguments["x"], torch.ones(2))


def test_gradients_of_arguments_and_parameters_by_the_components_names() -> None:
    instance = layer()
    instance.load({"linear.weight": torch.ones(2, 3), "linear.bias": torch.zeros(2), "gain": torch.tensor([1.0, 2.0])})
    x, cotangent = torch.ones(1, 3, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    reply = instance.call({"x": x}, cotangent=cotangent)
    assert torch.equal(reply.gradients["x"], torch.full((1, 3), 3.0, dtype=torch.float64))
    assert set(reply.parameter_gradients) == {"linear.weight", "linear.bias", "gain"}
    assert torch.equal(reply.parameter_gradients["gain"], torch.full((2,), 3.0, dtype=torch.float64))


def test_an_argument_without_influence_has_no_gradient() -> None:
    assert call("def f(x): return x.detach() * 2", torch.ones(1), cotangent=torch.ones(1)).gradients == {}


def test_state_goes_by_the_components_names_and_is_a_copy() -> None:
    instance = layer()
    state = instance.state()
    assert set(state) == {"linear.weight", "linear.bias", "gain"}
    state["gain"].zero_()
    assert torch.equal(instance.state()["gain"], torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("state", "message"),
    [({"fc.weight": torch.ones(2, 3)}, "no parameter"), ({"gain": torch.ones(3)}, r"has shape \(2,\), not \(3,\)")],
)
def test_a_state_that_does_not_fit_is_refused(state, message: str) -> None:
    with pytest.raises(CandidateError, match=message):
        layer().load(state)


def test_weights_are_a_trait_when_their_names_are_known() -> None:
    assert "weights" in candidate(LAYER, LAYER_ADAPTER, weights=NAMES).traits
    assert "weights" not in candidate(LAYER, LAYER_ADAPTER).traits


def test_training_and_evaluation_and_the_seed() -> None:
    instance, x = layer(), torch.ones(4, 3, dtype=torch.float64)
    assert torch.equal(instance.call({"x": x}).output, instance.call({"x": x}, seed=1).output)
    train = [instance.call({"x": x}, training=True, seed=seed).output for seed in (1, 1, 2)]
    assert torch.equal(train[0], train[1])
    assert not torch.equal(train[0], train[2])


def test_the_default_type_is_the_cases() -> None:
    for dtype in ("float32", "float64"):
        made = candidate("import torch\ndef f(x): return torch.zeros(1)").build({}, dtype=dtype)
        assert made.call({"x": torch.ones(1)}).output.dtype == getattr(torch, dtype)


def test_no_trace_is_left_in_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    code = """
import torch, warnings
def f(x):
    torch.set_default_dtype(torch.float16); torch.manual_seed(1); torch.set_grad_enabled(False)
    print("noise"); warnings.warn("noise")
    return x
"""
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(code, torch.ones(1))
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert torch.equal(before, torch.get_rng_state())
    assert capsys.readouterr().out == ""


def test_a_script_runs_anew_at_every_call() -> None:
    adapter = "def call(x): return script(x=x)['y']"
    made = candidate("y = x + 1\nx = None", adapter, script=True).build({})
    for value in (1.0, 2.0):
        assert made.call({"x": torch.tensor(value)}).output.item() == value + 1
