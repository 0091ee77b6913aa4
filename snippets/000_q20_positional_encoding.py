import torch
import torch.nn as nn

def positional_encoding(position, d_model):
    pos_encoding = torch.zeros(1, position, d_model)
    angle_rads = position * torch.pi / d_model
    pos_encoding[0, :, 0::2] = torch.sin(angle_rads)
    pos_encoding[0, :, 1::2] = torch.cos(angle_rads)
    return pos_encoding
