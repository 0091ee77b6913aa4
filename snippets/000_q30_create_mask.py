def create_mask(seq_len, max_len):
    return torch.arange(seq_len).expand(seq_len, max_len) >= seq_len
