"""Side by side with others: how fast `reference` is, and how well the checks judge.

Each module with a `main` is one benchmark and one command, `python -m benchmarks.training` for example; it writes
`benchmarks/results/<name>.json` and `<name>.svg` and prints the same as a table.

| module | what it measures |
|---|---|
| `training` | a training step of the full model, against peers and against its bare matrix products |
| `forward` | the full model in evaluation, against peers |
| `attention` | one multi-head attention block in evaluation, against `nn.MultiheadAttention` |
| `decoding` | greedy and beam search on a cache, against HF Marian and against its bound |
| `dates` | what the reference learns of human dates, and what the first document's class does |
| `gpu` | training step, forward and decoding on a GPU in bfloat16, with the model FLOP utilisation |

Three more are about the checks:

| module | what it measures |
|---|---|
| `effort` | how long the checks of each component take |
| `alarms` | false alarms of the checks on correct implementations by others |
| `rivals` | how many of the named defects other public tools find |

`measure` is the harness of the first table, `peers` builds the others in the same configuration, `products` is the
bound.

Absolute times belong to the machine. Ratios carry over better, since all contestants of a comparison take turns in one
run: a neighbour's load then falls on all of them alike.
"""
