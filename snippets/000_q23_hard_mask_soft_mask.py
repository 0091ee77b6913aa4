def hard_mask(attn_scores, mask):
    mask = mask.bool()
    attn_scores = attn_scores.masked_fill(mask, float("-inf"))
    return attn_scores

def soft_mask(attn_scores, mask, alpha=0.1):
    mask = mask.float()
    attn_scores = attn_scores - alpha * mask
    return attn_scores
