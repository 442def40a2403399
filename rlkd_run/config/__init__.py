"""Typed options of everything, and how a command line becomes a checked configuration. Never imports torch."""
