"""`replace_batchnorm`: the one-line remedy for layers whose statistics mix records."""

from __future__ import annotations

from torch import nn

from privgen.errors import ConfigError

_MOST_GROUPS = 32
_LEAST_CHANNELS = 4


def replace_batchnorm(model: nn.Module) -> nn.Module:
    """A model whose normalisation looks at one record alone: every BatchNorm a GroupNorm, with its scale and shift.

    Make the optimiser afterwards. Running statistics are gone: of pretrained weights fine-tune, or normalise by others.

    Args:
        model: changed in place.

    Returns:
        It; or, where it is a BatchNorm itself, what takes its place.

    Raises:
        ConfigError: a layer does not know its channels yet (a lazy one).

    >>> replace_batchnorm(nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64)))[1].num_groups
    16
    """
    if isinstance(model, nn.modules.batchnorm._BatchNorm):
        return _group_norm(model)
    if isinstance(model, nn.modules.instancenorm._InstanceNorm):
        model.track_running_stats, model.running_mean, model.running_var = False, None, None
    for name, layer in model.named_children():
        setattr(model, name, replace_batchnorm(layer))
    return model


def _group_norm(layer: nn.modules.batchnorm._BatchNorm) -> nn.GroupNorm:
    channels = layer.num_features
    if channels < 1:
        raise ConfigError(f"{type(layer).__name__} does not know its channels yet; run the model once before.")
    each = min(channels, _LEAST_CHANNELS)
    groups = max(g for g in range(1, _MOST_GROUPS + 1) if channels % g == 0 and channels // g >= each)
    made = nn.GroupNorm(groups, channels, eps=layer.eps, affine=layer.affine)
    if layer.affine:
        made.weight, made.bias = layer.weight, layer.bias
        made.to(layer.weight.device)
    return made.train(layer.training)
