"""Retrieval metrics: from vectors by rank counting, or from ranked lists of ids."""
