"""Networks from images to logits, each a plain torch module: `build(shape, logit_dim, hidden_size)`."""
