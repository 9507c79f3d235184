"""The noise, number by number: plain torch is the oracle, numba the body on a CPU."""
