"""Our own LORE engine."""
