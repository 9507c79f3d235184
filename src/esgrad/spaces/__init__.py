"""Where the noise enters: the point it surrounds, its fitness, and how a gradient there reaches the parameters."""
