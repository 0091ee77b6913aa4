def positional_encoding(position, d_model):
    pos_encoding = torch.zeros(1, position, d_model)
    angle_rads = position * np.pi / d_model
    sine_values = np.sin(angle_rads)
    cosine_values = np.cos(angle_rads)
    pos_encoding[0, :, 0::2] = torch.tensor(sine_values)
    pos_encoding[0, :, 1::2] = torch.tensor(cosine_values)
    return pos_encoding
