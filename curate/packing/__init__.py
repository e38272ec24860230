"""Pack the photos of a manifest into Arrow shards, resized once."""
