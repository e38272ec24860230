"""Stage two of vividset: manifest in, colorizer out.

The rooms, from the door inwards:

- `train.cli`: the commands
- `train.loop`: training, read in one sitting; `train.step` and `train.watch`: the step, and all that goes on beside it
- `train.run`, `train.processes`, `train.rescue`: what a run is made of, in several processes, and back from trouble
- `train.recipe`: the documented hyper-parameters; `train.photos`, `train.data`: manifest to batches
- `train.model`, `train.encoder`, `train.loss`, `train.lab`: the network, what it is told, and the colour space they
  speak in
- `train.health`, `train.findings`, `train.journal`, `train.pictures`, `train.page`: is it going well, in words, lines
  and pictures
- `train.checkpoint`, `train.taught`: keep what was learned, and say which photos taught it
- `train.evaluate`, `train.likeness`, `train.export`: judge it, hand it on
- `train.colorize`: use it; `train.places` says where pictures go, `train.upsample` and `train.gamut` bring colour to
  full size, `train.marks` writes where it comes from

Of `curate` it knows the manifest, the decoder, the measures and the errors: a photo is seen here as it was scored
there.
"""
