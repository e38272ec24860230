"""Export the photos of a manifest in the layout of another tool.

- export: WebDataset tars, Hugging Face imagefolder, copies, symbolic links and hard links
- lists: a list of paths, and a CSV table
- folder: writes their files into a folder or to a URL
"""
