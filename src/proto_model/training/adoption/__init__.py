"""Fitted pipelines from elsewhere: taken over exactly, or refused."""

from proto_model.training.adoption.following import TAKEN, adopted, forest_of, with_known_levels
from proto_model.training.adoption.same import Sameness, check_same

__all__ = ["TAKEN", "Sameness", "adopted", "check_same", "forest_of", "with_known_levels"]
