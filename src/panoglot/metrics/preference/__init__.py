"""Who is better: agreement with people, arenas, standings."""
