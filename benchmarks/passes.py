"""What the networks' benchmarks do with a network: the same on every side."""


def inference(net, x, half):
    """One pass without gradients, in float32 or as `medlearn.autocast` has it."""
    import torch

    from medlearn.runtime import autocast

    @torch.inference_mode()
    def call():
        with autocast(x.device) if half else torch.autocast("cpu", enabled=False):
            net(x)
        return []

    return call
