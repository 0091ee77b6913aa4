"""The texts that the checks rest on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """A paper, a book or the documentation of a library."""

    name: str
    title: str
    url: str

    def says(self, section: str, quote: str) -> "Spec":
        """A sentence of this work."""
        return Spec(self, section, quote)


@dataclass(frozen=True)
class Spec:
    """The sentence that demands a property.

    Attributes:
        work: where it stands.
        section: number or name of the section.
        quote: its words.
    """

    work: Work
    section: str
    quote: str


VASWANI = Work("Vaswani et al. 2017", "Attention Is All You Need", "https://arxiv.org/abs/1706.03762")
BA = Work("Ba et al. 2016", "Layer Normalization", "https://arxiv.org/abs/1607.06450")
IOFFE = Work(
    "Ioffe and Szegedy 2015",
    "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    "https://arxiv.org/abs/1502.03167",
)
HE = Work("He et al. 2016", "Deep Residual Learning for Image Recognition", "https://arxiv.org/abs/1512.03385")
SHAW = Work(
    "Shaw et al. 2018", "Self-Attention with Relative Position Representations", "https://arxiv.org/abs/1803.02155"
)
SRIVASTAVA = Work(
    "Srivastava et al. 2014",
    "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    "https://jmlr.org/papers/v15/srivastava14a.html",
)
KINGMA = Work("Kingma and Ba 2015", "Adam: A Method for Stochastic Optimization", "https://arxiv.org/abs/1412.6980")
XIONG = Work(
    "Xiong et al. 2020", "On Layer Normalization in the Transformer Architecture", "https://arxiv.org/abs/2002.04745"
)
PYTORCH = Work("PyTorch", "PyTorch documentation", "https://docs.pytorch.org/docs/stable/")
