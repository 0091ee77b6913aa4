import torch
import torch.nn as nn

class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, num_heads):
        super(MultiHeadAttention, self).__init__()
        self.d_model = d_model
        self.num_heads = num_heads
        self.head_dim = d_model // num_heads
        self.query_linear = nn.Linear(d_model, d_model)
        self.key_linear = nn.Linear(d_model, d_model)
        self.value_linear = nn.Linear(d_model, d_model)
        self.out_linear = nn.Linear(d_model, d_model)

    def forward(self, queries, keys, values, mask=None):
        batch_size = queries.size(0)
        num_sequences = queries.size(1)

        queries = self.query_linear(queries).view(batch_size, num_sequences, self.num_heads, self.head_dim).transpose(1, 2)
        keys = self.key_linear(keys).view(batch_size, num_sequences, self.num_heads, self.head_dim).transpose(1, 2)
        values = self.value_linear(values).view(batch_size, num_sequences, self.num_heads, self.head_dim).transpose(1, 2)

        attn_scores = torch.matmul(queries, keys.transpose(-2, -1)) / np.sqrt(self.head_dim)
        if mask is not None:
            attn_scores = attn_scores.masked_fill(mask == 0, float("-inf"))
        attn_weights = torch.softmax(attn_scores, dim=-1)
        attn_output = torch.matmul(attn_weights, values).transpose(1, 2).contiguous().view(batch_size, num_sequences, self.d_model)
        attn_output = self.out_linear(attn_output)
        return attn_output
