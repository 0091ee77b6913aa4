def relative_position_encoding(seq_len, d_model):
    positions = torch.arange(seq_len, dtype=torch.float).unsqueeze(1)
    position_enc = torch.zeros(seq_len, seq_len, d_model)
    for i in range(seq_len):
        position_enc[i, i:, :] = positions[i:]
    return position_enc
