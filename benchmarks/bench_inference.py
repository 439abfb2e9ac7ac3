"""A volume of 256^3 voxels and 30 classes, answered in windows of 96^3 that overlap by half, beside MONAI's.

The network is one convolution, so that time and memory are those of the blending. Both sides use Gaussian weights and
end with labels in uint8; they have to agree in the voxels of every class. In half precision the sums are rounded, and
so are a few labels in a thousand: there the counts are those of voxels by class to two digits.
"""
from harness import Case, Setting, Side, main

SIZE, PATCH, CLASSES, OVERLAP = 256, 96, 30, 0.5
SMALL, SMALL_PATCH, FEW = 24, 8, 3
AS_LEAN = 1 / 0.45


def network_and_image(size, classes):
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Conv3d(1, classes, 3, padding=1).eval(), torch.randn(1, 1, size, size, size)


def medlearn(size, patch, classes, half=False):
    import numpy as np
    import torch

    from medlearn.base.grid import Grid
    from medlearn.data import Volume
    from medlearn.inference import predict_volume

    net, image = network_and_image(size, classes)
    scan = Volume(image[0, 0].numpy(), Grid((size,) * 3, np.eye(4)))
    dtype = torch.float16 if half else torch.float32
    return lambda: counts(predict_volume(net, scan, patch=patch, overlap=OVERLAP, dtype=dtype).labels.array, classes,
                          half)


def monai(size, patch, classes, half=False):
    import torch
    from monai.inferers import sliding_window_inference

    net, image = network_and_image(size, classes)

    @torch.no_grad()
    def call():
        logits = sliding_window_inference(image, (patch,) * 3, 1, net, overlap=OVERLAP, mode="gaussian")
        return counts(logits.argmax(1)[0].to(torch.uint8).numpy(), classes, half)

    return call


def counts(labels, classes, half):
    import numpy as np

    share = np.bincount(labels.ravel(), minlength=classes) / labels.size
    return [round(float(x), 2 if half else 9) for x in share]


def cases(setting: Setting):
    which = (dict(size=SMALL, patch=SMALL_PATCH, classes=FEW) if setting.smoke
             else dict(size=SIZE, patch=PATCH, classes=CLASSES))
    yield Case("labels", Side("medlearn", "medlearn", which), Side("monai", "monai", which), 1.0, AS_LEAN)
    which = which | {"half": True}
    yield Case("labels, the sums in half precision", Side("medlearn", "medlearn", which), Side("monai", "monai", which),
               None, 3.0)


if __name__ == "__main__":
    main(__file__, "Inference", __doc__, cases, "pip install monai==1.6.1")
