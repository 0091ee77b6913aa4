initial_learning_rate = 0.001
decay_rate = 0.95
num_epochs = 10

for epoch in range(num_epochs):
    learning_rate = initial_learning_rate / (1 + decay_rate * epoch)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    # 进行训练
