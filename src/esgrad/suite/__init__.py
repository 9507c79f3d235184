"""A suite: one configuration, unfolded into jobs; their records, and the sources behind these."""
