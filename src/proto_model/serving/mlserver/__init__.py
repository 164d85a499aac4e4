"""The served models under MLServer."""
