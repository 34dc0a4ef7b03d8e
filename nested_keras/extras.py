"""Name the extra of this package that brings a missing package."""

from __future__ import annotations

_TRAIN = ("keras", "tensorflow", "tensorflow_model_optimization", "tf_keras")
_EXTRAS = {
    **dict.fromkeys(_TRAIN, "train"),
    "matplotlib": "plots",
    "sklearn": "demo",
    "PIL": "images",
}
# Packages whose name to import differs from their name to install.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "tensorflow_model_optimization": "tensorflow-model-optimization",
}


def missing(
    error: ModuleNotFoundError, user: str, *, extra: str | None = None
) -> ModuleNotFoundError:
    """Returns an error that says how to install the package that an import did not find.

    Args:
        error: The error of the import.
        user: The name of the function, module or command that needs the package.
        extra: The extra that brings everything that `user` needs; by default the extra that brings
            the package.

    Returns:
        The error to raise in the place of `error`; `error` itself if no extra brings the package.
    """
    package = (error.name or "").split(".")[0]
    if package not in _EXTRAS:
        return error
    return ModuleNotFoundError(
        f"{user} needs the package {_DISTRIBUTIONS.get(package, package)}: "
        f"pip install 'nested_keras[{extra or _EXTRAS[package]}]'",
        name=error.name,
    )
