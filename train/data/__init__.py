"""From a manifest to batches of uint8 crops.

- `dataset`: the photos of a manifest's splits, checked to exist; reading one photo
- `packed`: the same for a pack, whose photos are already decoded and scaled
- `roots`: checks the folders of `--root`
- `sampler`: which photos each training step takes, in a reproducible order
- `loader`: photos to batches of crops
- `readers`: the processes that read photos for it
"""
