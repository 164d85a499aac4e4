from proto_model.registry.record import note


def test_a_card_longer_than_mlflow_keeps_ends_with_a_line():
    card = "".join(f"| class {number} | 1 |\n" for number in range(1000))

    assert note(card[:8000]) == card[:8000]
    assert len(note(card)) <= 8000
    assert note(card).endswith("| 1 |\n\n… The rest is in `model_card.md`.\n")
