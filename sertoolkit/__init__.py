"""Reuse what a speech recogniser knows for emotion: encoders, heads, honest protocols."""

from sertoolkit.version import __version__ as __version__
