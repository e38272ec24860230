"""From a manifest to batches of uint8 crops.

- `dataset`: the photos of a manifest's splits, checked to exist; reading one photo
- `changes`: finds photos that are missing or have changed since the scan
- `run_photos`: the list of photos in a run's folder
- `packed`: the same for a pack, whose photos are already decoded and scaled
- `roots`: checks the folders of `--root`
- `sampler`: which photos each training step takes, in a reproducible order
- `loader`: photos to batches of crops
- `readers`: the processes that read photos for it
"""
