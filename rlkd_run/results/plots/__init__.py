"""Records -> pictures. Needs matplotlib, which nothing else of `results` imports; `draw` is the way in."""
