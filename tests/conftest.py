from hypothesis import settings

# Reproducible everywhere, and no time limit per example: the machine may be busy. A failure prints
# the line that repeats it.
settings.register_profile("exact", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("exact")
