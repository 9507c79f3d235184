"""Pictures: `draw(suite)` gives the figure and exactly the numbers drawn in it."""
