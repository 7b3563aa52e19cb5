"""Tests of `burnrec.spark`."""
