"""OCI images of model versions, built without a container engine."""

from proto_model.deployment.image.build import ImageOptions, build_image
from proto_model.deployment.image.errors import ImageError
from proto_model.deployment.image.recipe import SERVERS, Recipe, Server, recipe_of

__all__ = ["SERVERS", "ImageError", "ImageOptions", "Recipe", "Server", "build_image", "recipe_of"]
