"""From a pretrained model to a task of one's own: load, freeze, a new head, LoRA (Q23 of the second document).

Load with `load_weights`; then freeze the encoder and train a head on it, fine-tune everything, or train low-rank
updates alone. `trainable_weights` is what has to be saved of the result.
"""

from reference.transfer.classifier import PooledClassifier, SourceEncoder
from reference.transfer.freezing import Frozen, freeze, trainable_parameters, trainable_weights, unfreeze
from reference.transfer.loading import LoadReport, load_weights, weights_of_part
from reference.transfer.lora import LoRALinear, add_lora, merge_lora, remove_lora

__all__ = [
    "Frozen",
    "LoRALinear",
    "LoadReport",
    "PooledClassifier",
    "SourceEncoder",
    "add_lora",
    "freeze",
    "load_weights",
    "merge_lora",
    "remove_lora",
    "trainable_parameters",
    "trainable_weights",
    "unfreeze",
    "weights_of_part",
]
