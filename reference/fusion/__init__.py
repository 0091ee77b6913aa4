"""Two modes in one model, text with images, each with its own padding (Q25); several sequences in one (Q14).

Two more axis letters: `P` patches of an image, `C` channels.
"""

from reference.fusion.cross import CoAttentionLayer, CrossAttentionBlock, CrossFusion
from reference.fusion.early import EarlyFusion
from reference.fusion.patches import PatchEmbedding
from reference.fusion.segments import SegmentEmbedding, segment_mask

__all__ = [
    "CoAttentionLayer",
    "CrossAttentionBlock",
    "CrossFusion",
    "EarlyFusion",
    "PatchEmbedding",
    "SegmentEmbedding",
    "segment_mask",
]
