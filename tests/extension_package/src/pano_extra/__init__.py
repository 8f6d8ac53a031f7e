"""One of each thing that a package may add to Panoglot."""
