"""Detection of training problems from the loss curve and the validations.

- `curve`: what they judge: losses and validations, divided by the neutral loss
- `detectors`: divergence, oscillation, plateau, gray and sepia output; called during training
- `overfitting`: training photos against held-out ones; called by `detectors`
- `loss_noise`: how much losses vary from step to step, and which changes exceed that
- `findings`: the texts: evidence, documented remedies, the documented scale
- `diagnose`: the same for a finished run or another trainer's CSV file
"""
