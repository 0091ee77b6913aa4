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
HE_IDENTITY = Work("He et al. 2016b", "Identity Mappings in Deep Residual Networks", "https://arxiv.org/abs/1603.05027")
PRESS = Work(
    "Press et al. 2022",
    "Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation",
    "https://arxiv.org/abs/2108.12409",
)
GOODFELLOW = Work("Goodfellow et al. 2016", "Deep Learning", "https://www.deeplearningbook.org/")
BLALOCK = Work(
    "Blalock et al. 2020", "What is the State of Neural Network Pruning?", "https://arxiv.org/abs/2003.03033"
)
CARUANA = Work("Caruana 1997", "Multitask Learning", "https://doi.org/10.1023/A:1007379606734")
CHO = Work(
    "Cho et al. 2014",
    "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation",
    "https://arxiv.org/abs/1406.1078",
)
JACOB = Work(
    "Jacob et al. 2018",
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    "https://arxiv.org/abs/1712.05877",
)
MANNING = Work(
    "Manning, Raghavan and Schütze 2008",
    "Introduction to Information Retrieval",
    "https://nlp.stanford.edu/IR-book/",
)
MOMENTUM = Work(
    "Sutskever et al. 2013",
    "On the importance of initialization and momentum in deep learning",
    "https://proceedings.mlr.press/v28/sutskever13.html",
)
SUTSKEVER = Work(
    "Sutskever et al. 2014", "Sequence to Sequence Learning with Neural Networks", "https://arxiv.org/abs/1409.3215"
)
