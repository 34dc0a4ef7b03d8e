"""What export raises."""


class ExportError(ValueError):
    """The model, the data or the converted file is not what export needs."""


class UnsupportedLayerError(ExportError):
    """The model has a layer that cannot be exported."""
