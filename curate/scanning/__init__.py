"""Measure every photo once and write the scan manifest.

scan.py       the whole scan: list, measure in workers, write the manifest
summary.py    the counts of a finished scan
scorer.py     read, decode and measure one photo, or a batch of them
resume.py     which rows of earlier scans are still valid
work_dir.py   the work folder: the listing, the chunks that workers measure, their part files
merge.py      join the manifests of `curate scan --shard`; keep rows sorted by location
preload.py    imported by the fork server, so that workers start fast
"""
