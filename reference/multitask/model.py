"""One shared encoder with several heads: hard parameter sharing (Caruana 1997, section 1.3, figure 2)."""

from collections.abc import Mapping

from jaxtyping import Bool, Float
from torch import Tensor, nn

from reference.encoder import Encoder


class MultiTaskModel(nn.Module):
    """`output_k = head_k(encoder(x))`: the encoder learns from all K tasks, head k from task k alone."""

    def __init__(self, encoder: Encoder, heads: Mapping[str, nn.Module]) -> None:
        """`heads` are called `head(encoding, mask)`, as `TokenHead` and `SequenceHead`. `ValueError` for no heads."""
        super().__init__()
        if not heads:
            raise ValueError("a multi-task model needs at least one head, got none")
        self.encoder = encoder
        self.heads = nn.ModuleDict(heads)

    def forward(self, x: Float[Tensor, "B S D"], mask: Bool[Tensor, "B 1 1 S"] | None = None) -> dict[str, Tensor]:
        """Encode once, and answer every task by name. `mask` is the `padding_mask`, True = a real token."""
        encoding = self.encoder(x, mask)
        return {task: head(encoding, mask) for task, head in self.heads.items()}
