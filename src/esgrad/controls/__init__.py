"""Controls: a gradient that shares one cause with an estimator and nothing else; beside a method's triple, its twin.

`gradient(shaping, logits, targets, variance, num_samples, normals)` takes the place of sampling, `refuses` says where
it cannot. A twin is named after its method, `<method>_<control>`, and its costs are counted as the method's own.
"""
