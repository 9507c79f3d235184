"""Where steps in a direction lead: centre + step·direction, product and sum rounded apart, for each of a few steps."""

from torch import Tensor, float32

from esgrad.kernels import compiled


def stepped(centre: Tensor, steps: Tensor, directions: Tensor) -> Tensor:
    """[s, G, n, steps, ...] of centres [s, G, ...], steps [s, G, steps] and directions [s, n, ...] that runs share."""
    shape = (*steps.shape[:2], directions.shape[1], steps.shape[-1], *centre.shape[2:])
    single = centre.dtype == steps.dtype == directions.dtype == float32
    if compiled.AVAILABLE and centre.device.type == "cpu" and single:
        from esgrad.kernels.compiled import stepped as body

        out = centre.new_empty(shape)
        arrays = out.flatten(4), centre.flatten(2), steps, directions.flatten(2)
        body.stepped(*(each.contiguous().numpy() for each in arrays))
        return out
    return by_torch(centre, steps, directions)


def by_torch(centre: Tensor, steps: Tensor, directions: Tensor) -> Tensor:
    """The oracle, on any device."""
    scale = steps[:, :, None].reshape(*steps.shape[:2], 1, -1, *[1] * (directions.dim() - 2))
    return (
        scale * directions[:, None, :, None] + centre[:, :, None, None]
    ).contiguous()  # for the products that follow
