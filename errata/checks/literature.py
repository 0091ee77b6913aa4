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
SZEGEDY = Work(
    "Szegedy et al. 2016",
    "Rethinking the Inception Architecture for Computer Vision",
    "https://arxiv.org/abs/1512.00567",
)
SGDR = Work(
    "Loshchilov and Hutter 2017",
    "SGDR: Stochastic Gradient Descent with Warm Restarts",
    "https://arxiv.org/abs/1608.03983",
)
ADAMW = Work("Loshchilov and Hutter 2019", "Decoupled Weight Decay Regularization", "https://arxiv.org/abs/1711.05101")
ACCUMULATION = Work(
    "Hugging Face 2024", "Fixing Gradient Accumulation", "https://huggingface.co/blog/gradient_accumulation"
)
KENDALL = Work(
    "Kendall et al. 2018",
    "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics",
    "https://arxiv.org/abs/1705.07115",
)
DOSOVITSKIY = Work(
    "Dosovitskiy et al. 2021",
    "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
    "https://arxiv.org/abs/2010.11929",
)
LU = Work(
    "Lu et al. 2019",
    "ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations for Vision-and-Language Tasks",
    "https://arxiv.org/abs/1908.02265",
)
KIM = Work(
    "Kim, Son and Kim 2021",
    "ViLT: Vision-and-Language Transformer Without Convolution or Region Supervision",
    "https://arxiv.org/abs/2102.03334",
)
HAN = Work(
    "Han et al. 2015",
    "Learning both Weights and Connections for Efficient Neural Networks",
    "https://arxiv.org/abs/1506.02626",
)
KRISHNAMOORTHI = Work(
    "Krishnamoorthi 2018",
    "Quantizing deep convolutional networks for efficient inference: A whitepaper",
    "https://arxiv.org/abs/1806.08342",
)
MICHEL = Work("Michel et al. 2019", "Are Sixteen Heads Really Better than One?", "https://arxiv.org/abs/1905.10650")
KRELL = Work(
    "Krell et al. 2021",
    "Efficient Sequence Packing without Cross-contamination: Accelerating Large Language Models without Impacting"
    " Performance",
    "https://arxiv.org/abs/2107.02027",
)
GOYAL = Work(
    "Goyal et al. 2017",
    "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
    "https://arxiv.org/abs/1706.02677",
)
MICIKEVICIUS = Work("Micikevicius et al. 2018", "Mixed Precision Training", "https://arxiv.org/abs/1710.03740")
HU = Work("Hu et al. 2021", "LoRA: Low-Rank Adaptation of Large Language Models", "https://arxiv.org/abs/2106.09685")
DEVLIN = Work(
    "Devlin et al. 2019",
    "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
    "https://arxiv.org/abs/1810.04805",
)
REIMERS = Work(
    "Reimers and Gurevych 2019",
    "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
    "https://arxiv.org/abs/1908.10084",
)
PAPINENI = Work(
    "Papineni et al. 2002",
    "Bleu: a Method for Automatic Evaluation of Machine Translation",
    "https://aclanthology.org/P02-1040/",
)
POST = Work("Post 2018", "A Call for Clarity in Reporting BLEU Scores", "https://arxiv.org/abs/1804.08771")
OPITZ = Work("Opitz and Burst 2019", "Macro F1 and Macro F1", "https://arxiv.org/abs/1911.03347")
SCIKIT_LEARN = Work("scikit-learn", "scikit-learn documentation", "https://scikit-learn.org/stable/")
HUGGING_FACE = Work("Hugging Face", "Transformers documentation", "https://huggingface.co/docs/transformers/perplexity")
TRANSFORMERS = Work(
    "Hugging Face Transformers", "Transformers documentation", "https://huggingface.co/docs/transformers/"
)
GEHRING = Work("Gehring et al. 2017", "Convolutional Sequence to Sequence Learning", "https://arxiv.org/abs/1705.03122")
RAFFEL = Work(
    "Raffel et al. 2020",
    "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
    "https://arxiv.org/abs/1910.10683",
)
RADFORD = Work(
    "Radford et al. 2018",
    "Improving Language Understanding by Generative Pre-Training",
    "https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf",
)
SU = Work(
    "Su et al. 2021",
    "RoFormer: Enhanced Transformer with Rotary Position Embedding",
    "https://arxiv.org/abs/2104.09864",
)
WU = Work(
    "Wu et al. 2016",
    "Google's Neural Machine Translation System: Bridging the Gap between Human and Machine Translation",
    "https://arxiv.org/abs/1609.08144",
)
ZHANG = Work("Zhang and Sennrich 2019", "Root Mean Square Layer Normalization", "https://arxiv.org/abs/1910.07467")
BAHDANAU = Work(
    "Bahdanau et al. 2015",
    "Neural Machine Translation by Jointly Learning to Align and Translate",
    "https://arxiv.org/abs/1409.0473",
)
BHOJANAPALLI = Work(
    "Bhojanapalli et al. 2020", "Low-Rank Bottleneck in Multi-head Attention Models", "https://arxiv.org/abs/2002.07028"
)
DAO = Work(
    "Dao et al. 2022",
    "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
    "https://arxiv.org/abs/2205.14135",
)
