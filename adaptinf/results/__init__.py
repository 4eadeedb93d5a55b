"""Results of finished runs: records, tables, intervals, paired tests."""
