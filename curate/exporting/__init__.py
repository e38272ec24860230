"""Write the photos of a manifest in the layout of another tool."""
