"""How many of the named defects public testing tools find, beside the checks here: `python -m benchmarks.rivals`.

A tool is a function that judges a program and yields the verdict of each of its checks. It is given every component
that it can take, in the way that its documentation shows, with all its checks that apply there:

| module | tool | how it is used |
|---|---|---|
| `by_pytest_torch` | pytest-torch | `ModelSuite`'s checks, invariances, gradients, training loops, streaming |
| `by_torchtest2` | torchtest2 | `check_model` with loss, optimizer, shapes, frozen names, `gradcheck`; warnings count |
| `by_pangolinn` | pangolinn | `CausalTestCase` and `EncoderPaddingTestCase` on a wrapper of the module |
| `by_torch_judge` | torch-judge | the tests of each task that a few lines can map to a component |
| `by_errata` | errata | the checks of the component, black-box and with the names of the weights |

The first three get the same views of a component as a module with a batch (`views`). A defect is *found* if a check
that passes on the unmutated reference fails, raises or does not end on the mutant, in the same call. A tool with no
check that passes on the reference is *not applicable* there; a component that no rival can take is left out. Not used
are what needs a right implementation or the expected values from the user (with those, any tool finds anything), and
comparisons of a module with its own compiled or exported form.

The defects are our own, each planted because a check of ours finds it: our columns say that they all are alive and
found, not how we would do on defects that others choose.
"""
