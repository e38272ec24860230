"""Networks, losses and colour space conversions."""
