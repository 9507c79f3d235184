"""How the noise q is drawn: `directions` turns standard normals into N directions of mean 0 and variance 1.

    q_n = σ·z_n,   ∇E f(x + q) = E[f·score(z)]/σ,   score(z) = −∇ log density(z)      (Gaussian noise: score(z) = z)

A file states facts about its noise, and shapings decide from these alone what they estimate:

    DRAWS_PER_SAMPLE   random vectors made for one sample
    TOGETHER           samples made together: a chunk starts at a multiple of it, and ends at one or at N
    INDEPENDENT        the samples are independent of each other
    UNCORRELATED       E[score(z_n) | all other samples] = 0: a baseline made of the others adds no bias
    SUMS_TO_ZERO       Σ score(z_n) = 0 in every draw: no centre of the fitness is felt
    EXACT              the exact arms of p = P(argmax(l + q) = y) and of log p: {"p": …, "log_p": …}
"""
