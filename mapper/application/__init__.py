"""An application's own mapping between its words and the model's: `mapping.yaml`, or a class."""
