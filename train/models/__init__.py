"""Networks, losses and color space conversion.

- `unet`: `ColorUNet`, the network that predicts color
- `efficientnet`: EfficientNet-Lite0 as a pretrained encoder, and as features for the perceptual loss
- `losses`: `ColorizationWeightedLoss` and `PerceptualLoss`
- `colorspace`: sRGB to the network's input and target, and back
- `device`: one-line errors for devices that torch cannot use
"""
