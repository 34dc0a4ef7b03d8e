import pytest


@pytest.fixture(scope="session")
def object_cache(tmp_path_factory):
    """Compiled kernels, shared by all tests."""
    return tmp_path_factory.mktemp("objects")
