"""What a user sees of the versions of a model, and does with them: list, show, edit, delete, history."""
