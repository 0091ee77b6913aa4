"""pangolinn: its two testers, on the views of a component that map a sequence to a sequence."""

import unittest
from collections.abc import Sequence
from functools import partial

import torch
from pangolinn.seq2seq import CausalTestCase, EncoderPaddingTestCase, PangolinnSeq2SeqModuleWrapper
from torch import LongTensor, Tensor, nn

from benchmarks.rivals.harness import Verdicts, passes
from benchmarks.rivals.views import VIEWS, VOCABULARY, View, Viewed
from errata.candidates import Program


def judge(component: str, program: Program, _: Sequence[str] = ()) -> Verdicts:
    """Run the testers whose property each view has."""
    for view in VIEWS.get(component, []):
        if view.sequence and view.causal:
            yield from _tested(view, program, CausalTestCase)
        if view.sequence and view.padded:
            yield from _tested(view, program, EncoderPaddingTestCase)


def _tested(view: View, program: Program, tester: type[unittest.TestCase]) -> Verdicts:
    case = type(tester.__name__, (tester,), {"module_wrapper_class": partial(_Wrapped, view, program)})
    for name in unittest.defaultTestLoader.getTestCaseNames(case):
        yield f"{view.name}: {name}", passes(case(name).debug)


class _Wrapped(PangolinnSeq2SeqModuleWrapper):
    """What pangolinn asks of a user: how the module is built and called, and its sizes."""

    def __init__(self, view: View, program: Program) -> None:
        self._view, self._program = view, program
        self._batch = dict(view.batch())
        super().__init__()

    def build_module(self) -> nn.Module:
        return Viewed(self._view, self._program)

    def forward(self, x: Tensor, lengths: LongTensor) -> Tensor:
        batch = {name: tensor[:1].expand(len(x), *tensor.shape[1:]) for name, tensor in self._batch.items()}
        batch["x"] = x if x.is_floating_point() else x.squeeze(-1)
        if "real" in batch:
            batch["real"] = torch.arange(x.shape[1]) < lengths[:, None]
        output: Tensor = self._module(**batch)
        return output if output.ndim == 3 else output.unsqueeze(-1)

    @property
    def num_input_channels(self) -> int:
        x = self._batch["x"]
        return x.shape[-1] if x.is_floating_point() else 1

    @property
    def num_output_channels(self) -> int:
        shape = self._view.shape
        return self.num_input_channels if shape is None else shape[1] if len(shape) > 1 else 1

    @property
    def input_dtype(self) -> torch.dtype:
        return self._batch["x"].dtype

    @property
    def max_value_allowed(self) -> int:
        return VOCABULARY
