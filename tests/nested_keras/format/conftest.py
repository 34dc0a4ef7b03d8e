from hypothesis import settings

# Reproducible everywhere, and no time limit per example: the machine may be busy.
settings.register_profile("exact", derandomize=True, deadline=None)
settings.load_profile("exact")
