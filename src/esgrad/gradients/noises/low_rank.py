"""Noise of low rank: each matrix of the parameters is perturbed by A·B, a column times a row of normals (EGGROLL).

Sarkar et al., arXiv 2511.16652, with rank 1: E[A·B] = 0, each number of it has variance 1, and a product with it costs
two with vectors. Pairs are mirrored. Its score is taken to be the direction itself, as there; that of a product of
normals is another, so that for a fitness that is not linear the mean is not quite the smoothed gradient. What is no
matrix, as the logits of an example are none, has mirrored Gaussian noise.
"""

from esgrad.gradients.noises.mirrored import CLASSES as CLASSES
from esgrad.gradients.noises.mirrored import DRAWS_PER_SAMPLE as DRAWS_PER_SAMPLE
from esgrad.gradients.noises.mirrored import EXACT as EXACT
from esgrad.gradients.noises.mirrored import INDEPENDENT as INDEPENDENT
from esgrad.gradients.noises.mirrored import PAIRS as PAIRS
from esgrad.gradients.noises.mirrored import SUMS_TO_ZERO as SUMS_TO_ZERO
from esgrad.gradients.noises.mirrored import TOGETHER as TOGETHER
from esgrad.gradients.noises.mirrored import UNCORRELATED as UNCORRELATED
from esgrad.gradients.noises.mirrored import directions as directions
from esgrad.gradients.noises.mirrored import refuses as refuses
from esgrad.gradients.noises.mirrored import score as score

FAMILY = None  # no law is known for it
PLAIN = False
RANK = 1
