"""Stand-ins of coming methods, of public contracts only: trained on made-up data, stored, resumed and read back."""
