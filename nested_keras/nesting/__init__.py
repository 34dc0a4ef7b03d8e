"""Turn a Keras model into a nested one and train its levels together."""
