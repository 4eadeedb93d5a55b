"""Builders that several test files share."""
