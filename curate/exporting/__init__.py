"""Export the photos of a manifest in the layout of another tool.

- export: plans and runs an export into a folder
- items: the photos of one job, what belongs to them, and the counts
- jobs: runs jobs on an engine
- names: names that every file system can store
- tars: WebDataset tars
- tree: Hugging Face imagefolder, copies, symbolic links and hard links
- parquet: Parquet files for Hugging Face `datasets`
- parquet_shards: one of these files
- features: the features of their columns
- card: the dataset card, README.md
- json_values: values of columns as JSON
- lists: a list of paths, and a CSV table
- folder: writes their files into a folder or to a URL
"""
