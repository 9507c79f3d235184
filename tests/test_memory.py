"""Memory: where a count of hits is all that weights ask for, an estimate takes no more however many samples it has."""

import subprocess
import sys

import pytest

ASKED = """
import resource, torch, esgrad
logits, targets = torch.zeros({batch}, {logits}), torch.arange({batch}) % {logits}
words = dict(noise_variance=1.0, seed=0, step=0, {words})
esgrad.es_gradient(logits, targets, num_samples=4, **words)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
gradient = esgrad.es_gradient(logits, targets, num_samples={samples}, **words)
assert gradient.isfinite().all() and gradient.abs().max() > 0
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts the peak in KiB")
@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (10**6, "shaping='raw'"),
        (20_000, "shaping='maxrl'"),
        (20_000, "shaping='raw', noise='mirrored'"),
        (10**6, "shaping='success', credit='class', noise='gumbel'"),
    ],
)
def test_a_million_samples_of_a_thousand_logits_take_less_than_a_gibibyte(samples: int, words: str) -> None:
    """Of 64 examples. Weights that need every number are asked for fewer samples, whose noise would be 5 GB."""
    script = ASKED.format(batch=64, logits=1000, samples=samples, words=words)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1024
