"""Measuring a part of the pool: which samples, what is carried over of the others, and whether that is still right.

A sample's vector and scores of an earlier step are carried over under `extraction.refresh` (docs/extraction.md).
"""
