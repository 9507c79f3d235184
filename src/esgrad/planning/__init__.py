"""How many samples do I need? The laws turned into N, B, t and a price: `esgrad plan`."""
