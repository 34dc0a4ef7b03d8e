"""The packed weight stream: encode, decode, validate, strip levels (NumPy only)."""
