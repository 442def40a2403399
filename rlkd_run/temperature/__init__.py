"""Temperature policies, one file each."""
