"""Fixtures that every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder of real corpora (CMU_ARCTIC, EmoDB, ...); skips the test where the variable names none."""
    value = os.environ.get("SERTOOLKIT_CORPORA")
    if not value:
        pytest.skip("needs real speech: set SERTOOLKIT_CORPORA to a folder with CMU_ARCTIC, EmoDB, ...")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"SERTOOLKIT_CORPORA={value} is not a folder")
    return folder
