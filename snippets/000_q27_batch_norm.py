import torch
import torch.nn as nn

class BatchNorm(nn.Module):
    def __init__(self, d_model):
        super(BatchNorm, self).__init__()
        self.d_model = d_model
        self.gamma = nn.Parameter(torch.ones(d_model))
        self.beta = nn.Parameter(torch.zeros(d_model))

    def forward(self, x):
        mean = x.mean([1], keepdim=True)
        var = x.var([1], keepdim=True)
        x = (x - mean) / torch.sqrt(var + 1e-6)
        return self.gamma * x + self.beta
