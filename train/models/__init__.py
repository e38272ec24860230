"""Networks, losses and color space conversion.

- `unet`: `ColorUNet`, the network that predicts color
- `efficientnet`: EfficientNet-Lite0 as a pretrained encoder, and as features for the perceptual loss
- `losses`: `ColorizationWeightedLoss` and `PerceptualLoss`
- `colorspace`: sRGB to the network's input and target, and back
- `strength`: the factor for the chroma of predicted colors
- `device`: which device to use, and one-line errors for those that torch cannot use
"""
