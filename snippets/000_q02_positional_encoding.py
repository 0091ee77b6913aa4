import torch
import torch.nn as nn

def positional_encoding(position, d_model):
    position_encoding = torch.zeros(1, position, d_model)
    position_angle = 2 * np.pi * position / (10000 ** (1 / d_model))
    position_encoding[0, :, 0] = torch.sin(position_angle)
    position_encoding[0, :, 1] = torch.cos(position_angle)
    return position_encoding.to(device)
