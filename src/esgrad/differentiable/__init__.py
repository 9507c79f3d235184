"""Any function of tensors, made differentiable: a module whose backward pass is an estimate."""
