"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("fashionseg", deadline=None)  # a busy machine is no fault
settings.load_profile("fashionseg")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real photos (`ccp/`) and a real clip (`video/juggle.mp4`), where there is one."""
    folder = os.environ.get("FASHIONSEG_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FASHIONSEG_TEST_DATA does not name a folder with real photos and clips")
    return Path(folder)
