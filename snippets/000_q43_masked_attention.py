def masked_attention(query, key, value, mask=None):
    attn_scores = torch.matmul(query, key.transpose(-2, -1)) / np.sqrt(query.shape[-1])
    if mask is not None:
        attn_scores = attn_scores.masked_fill(mask == 0, float("-inf"))
    attn_weights = torch.softmax(attn_scores, dim=-1)
    attn_output = torch.matmul(attn_weights, value)
    return attn_output
