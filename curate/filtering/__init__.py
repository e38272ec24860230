"""Decide from the measures of a scan which photos to keep, and record every reason.

option_values.py  limits, shares and splits
options.py        thresholds and other rules as options, and presets
rules.py          rules on single photos
join.py           columns of another table (its formats: join_table.py)
photo_lists.py    lists of photos to reject or to keep
dataset_rules.py  rules that compare photos: shares, SQL, duplicates, balance
columns.py        columns of a whole scan as numpy arrays
balance.py        a subset spread over hues and colorfulness
filter.py         apply all rules and write the manifests of kept and rejected photos
"""
