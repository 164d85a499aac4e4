"""Our own LORE engine: local rules and counterfactuals for any model over a table, in milliseconds."""

from proto_model.explanation.lore.engine import LoreExplainer

__all__ = ["LoreExplainer"]
