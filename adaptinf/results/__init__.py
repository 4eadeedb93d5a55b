"""A finished run as numbers: records, tables, intervals, paired tests."""
