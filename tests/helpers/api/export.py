from helpers.api.nets import FLAT, made
from helpers.api.places import call, normal_numbers
from medlearn import export, nets


def read_again(place):
    """A page holds no tensors, and its network is made on the CPU."""
    page = export.page_network(place(made(lambda: nets.UNet(1, 3, widths=(4, 8)))))
    return page["weights"][:40], export.read_page_network(page).to(place.device)(place(FLAT))


CALLS = {"export.quantised": call(export.quantised, normal_numbers(4, 3, 3, 3)), "export.page_network": read_again,
         "export.read_page_network": read_again}
