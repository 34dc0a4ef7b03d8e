"""The errors that export raises."""


class ExportError(ValueError):
    """Export cannot use the model, the data or the converted file."""


class UnsupportedLayerError(ExportError):
    """The model has a layer that cannot be exported."""
