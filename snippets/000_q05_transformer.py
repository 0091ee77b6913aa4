import torch
import torch.nn as nn

class Transformer(nn.Module):
    def __init__(self, d_model, d_ff, num_heads):
        super(Transformer, self).__init__()
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.positional_encoding = nn.Embedding(pos_embedding_size, d_model)
        self多头注意力 = MultiHeadAttention(d_model, num_heads)
        self前馈网络 = FeedForward(d_model, d_ff)
        self.dropout = nn.Dropout(p=0.1)
        
    def forward(self, x, mask=None):
        x = self.embedding(x) + self.positional_encoding(x)
        x = self.dropout(x)
        x = self多头注意力(x, x, x, mask=mask)
        x = self.dropout(x)
        x = self前馈网络(x)
        x = self.dropout(x)
        return x
