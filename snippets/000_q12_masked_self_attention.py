import torch
import torch.nn as nn

def masked_softmax(scores, mask=None):
    if mask is not None:
        mask = mask.to(scores.device)
        scores = scores * mask + (1 - mask) * float('-inf')
    return nn.functional.softmax(scores, dim=-1)

def masked_self_attention(query, key, value, mask=None):
    attn_scores = torch.matmul(query, key.transpose(-2, -1)) / np.sqrt(query.shape[-1])
    attn_scores = masked_softmax(attn_scores, mask)
    attn_output = torch.matmul(attn_scores, value)
    return attn_output
