"""Networks whose norms are not those of a fresh one."""

from torch import nn


def random_norms(network: nn.Module) -> nn.Module:
    """The network with norms as they may be after training, in evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.3, 3.0)
    return network.eval()
