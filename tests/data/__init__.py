"""Tests of `fashionseg.data`."""
