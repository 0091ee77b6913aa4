from reference.scaling.example import example_model, example_rows, train_example


def test_rows_have_unequal_lengths_and_padding_at_their_ends() -> None:
    rows = example_rows(10)
    lengths = (rows != 0).sum(dim=1)
    assert set(lengths.tolist()) == {2, 3, 4, 5, 6}
    assert all((row[:length] != 0).all() for row, length in zip(rows, lengths.tolist(), strict=True))


def test_one_process_alone_learns_something() -> None:
    history = train_example(example_model(), None, examples=24, epochs=4)
    assert len(history) == 4 * 3
    held_out = [record["held_out_loss"] for record in history if "held_out_loss" in record]
    assert history[-1]["loss"] < history[0]["loss"] - 0.3
    assert held_out[-1] < held_out[0]
