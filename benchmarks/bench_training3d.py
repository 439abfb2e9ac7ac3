"""Twenty steps of 3D training: medlearn's `fit` beside MONAI's loop and one like nnU-Net's, same network and patches.

The network is medlearn's 3D U-Net of widths 16 to 128, the patches 2 of 64^3 with 4 classes, cut at random from four
volumes of 96^3 in memory. What differs is all that a loop brings. MONAI's is that of its tutorial
spleen_segmentation_3d, with Adam at 1e-4, and DiceCELoss, which makes one-hot labels. nnU-Net's has SGD with Nesterov's
momentum of 0.99, a poly schedule, gradients cut at 12, and its soft Dice over the batch with cross-entropy. `fit` has
AdamW, a cosine, a clip at 1 and `dice_ce_loss`, and looks at losses, weights and labels as it does for a reader.
MONAI's workflow engine would need ignite, which wraps such a loop. bfloat16 is autocast on every side. Data loading is
the same on all: in the process. The trainings differ, so only time and memory are compared.
"""
from itertools import product

from harness import Case, Setting, Side, main

CLASSES, BATCH = 4, 2
FULL = {"widths": (16, 32, 64, 128), "volume": 96, "patch": 64, "steps": 20}
SMALL = {"widths": (2, 4), "volume": 12, "patch": 8, "steps": 2}
AS_FAST = 1.0


def network(widths):
    import torch

    from medlearn.nets import UNet

    torch.manual_seed(0)
    return UNet(1, CLASSES, dim=3, widths=tuple(widths))


def pieces(volume, patch, steps):
    """As many random patches as the steps take, of four volumes; a torch Dataset."""
    import torch

    class Pieces(torch.utils.data.Dataset):
        def __init__(self):
            draw = torch.Generator().manual_seed(0)
            self.images = torch.randn(4, 1, volume, volume, volume, generator=draw)
            self.labels = torch.randint(CLASSES, (4, volume, volume, volume), generator=draw)

        def __len__(self):
            return steps * BATCH

        def __getitem__(self, i):
            box = tuple(slice(a, a + patch) for a in torch.randint(volume - patch + 1, (3,)).tolist())
            return self.images[i % 4][(slice(None), *box)], self.labels[i % 4][box]

    return Pieces()


def fit(widths, volume, patch, steps, half):
    from medlearn.losses import dice_ce_loss
    from medlearn.train import Recipe
    from medlearn.train import fit as train

    net, data = network(widths), pieces(volume, patch, steps)
    recipe = Recipe(steps=steps, batch_size=BATCH, precision="bf16" if half else "fp32")

    def call():
        return [float(len(train(net, data, loss=dice_ce_loss, recipe=recipe, progress=False).rows))]

    return call


def plain_loop(net, data, half, loss, optimizer, before_step):
    """The loop that MONAI's tutorials and nnU-Net's trainer share."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = net.to(device).train()

    def call():
        done = 0
        for image, label in torch.utils.data.DataLoader(data, batch_size=BATCH, shuffle=True):
            image, label = image.to(device), label[:, None].to(device)
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                value = loss(net(image), label)
            value.backward()
            before_step(done)
            optimizer.step()
            value.item()                                            # both write it down at each step
            done += 1
        return [float(done)]

    return call


def monai(widths, volume, patch, steps, half):
    import torch
    from monai.losses import DiceCELoss

    net = network(widths)
    return plain_loop(net, pieces(volume, patch, steps), half, DiceCELoss(to_onehot_y=True, softmax=True),
                      torch.optim.Adam(net.parameters(), 1e-4), lambda step: None)


def like_nnunet(widths, volume, patch, steps, half):
    import torch
    from torch.nn import functional as F

    net = network(widths)
    optimizer = torch.optim.SGD(net.parameters(), 1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)

    def loss(logits, label):
        """Soft Dice of the foreground over the batch, in float32, and cross-entropy."""
        p, axes = logits.float().softmax(1)[:, 1:], (0, 2, 3, 4)
        with torch.no_grad():
            truth = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device).scatter_(1, label, True)[:, 1:]
        overlap, size = (p * truth).sum(axes), p.sum(axes) + truth.sum(axes)
        return F.cross_entropy(logits, label[:, 0]) - ((2 * overlap + 1e-5) / (size + 1e-5).clamp_min(1e-8)).mean()

    def before_step(step):
        torch.nn.utils.clip_grad_norm_(net.parameters(), 12)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / steps) ** 0.9

    return plain_loop(net, pieces(volume, patch, steps), half, loss, optimizer, before_step)


def cases(setting: Setting):
    which = SMALL if setting.smoke else FULL
    for half, (peer, package, prepare) in product((False, True), (("MONAI's loop", "monai", "monai"),
                                                                  ("a loop like nnU-Net's", "torch", "like_nnunet"))):
        asked = which | {"half": half}
        yield Case(f"{'bfloat16' if half else 'float32'}, beside {peer}", Side("medlearn", "fit", asked),
                   Side(package, prepare, asked), AS_FAST, None)


if __name__ == "__main__":
    main(__file__, "Training in 3D", __doc__, cases, "pip install monai==1.6.1")
