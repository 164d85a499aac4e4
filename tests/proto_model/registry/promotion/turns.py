"""A promotion and a rollback, each in a turn of its own."""

from proto_model.registry.promotion.moves import turn


def promote(name, expected, client):
    with turn(client, name, f"promote version {expected.challenger}", expected) as taken:
        return taken.promote(expected)


def rollback(name, expected, client):
    with turn(client, name, "undo the last promotion") as taken:
        return taken.roll_back(expected)
