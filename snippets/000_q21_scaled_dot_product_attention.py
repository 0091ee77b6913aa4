import torch
import torch.nn as nn

def scaled_dot_product_attention(q, k, v, d_k, mask=None):
    attn_scores = torch.matmul(q, k.transpose(-2, -1)) / np.sqrt(d_k)
    if mask is not None:
        attn_scores = attn_scores.masked_fill(mask == 0, float("-inf"))
    attn_weights = torch.softmax(attn_scores, dim=-1)
    attn_output = torch.matmul(attn_weights, v)
    return attn_output
