"""Pictures of figures: drawn and closed, encoded as small as it goes, and made to fit a weight."""
import io
import warnings
from base64 import b64decode

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.figure import Figure
from PIL import Image

from medlearn.viz import frames
from medlearn.viz.frames import BLOCK, FIRST, STEPS, data_uri, encode, render, same_size


def picture(seed, width=60, height=40):
    """Noise, which nothing compresses."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def opened(uri):
    return Image.open(io.BytesIO(b64decode(uri.partition("base64,")[2])))


# ---------------------------------------------------------------------------------------------------------------------
# Drawing

@pytest.mark.parametrize("layout", [None, "constrained", "tight"])
def test_a_frame_is_what_savefig_would_write(layout):
    def draw(level):
        figure, (left, right) = plt.subplots(1, 2, figsize=(4, 2), layout=layout)
        left.imshow([[0, level], [level, 1]])
        right.plot([0, level], label="a line")
        right.set(xlabel="a label that needs room", title="what is it?")
        figure.legend(loc="outside lower center" if layout == "constrained" else "lower center")
        return figure

    buffer, figure = io.BytesIO(), draw(0.5)
    with plt.rc_context({"savefig.bbox": "standard"}):
        figure.savefig(buffer, format="png", dpi=150)
    plt.close(figure)
    np.testing.assert_array_equal(np.asarray(render(draw, {"level": 0.5}, dpi=150).picture),
                                  np.asarray(Image.open(buffer).convert("RGB")))


def test_a_figure_of_the_readers_own_is_given_back_as_it_was():
    figure = Figure(figsize=(2, 1), dpi=80)
    before = figure.dpi, figure.canvas
    assert render(lambda level: figure, {"level": 0}, dpi=150).picture.size == (300, 150)
    assert (figure.dpi, figure.canvas) == before


def test_draw_may_return_a_figure_or_draw_on_the_current_one():
    def returned(level):
        return plt.figure(figsize=(2, 1), facecolor=(level, 0, 0))

    def current(level):
        plt.gcf().set(facecolor=(level, 0, 0), size_inches=(2, 1))
        plt.plot([0, 1])

    def without_pyplot(level):
        return Figure(figsize=(2, 1), facecolor=(level, 0, 0))

    for draw in (returned, current, without_pyplot):
        shown = render(draw, {"level": 1.0}, 50).picture
        assert shown.size == (100, 50) and shown.getpixel((0, 0)) == (255, 0, 0)


def test_figures_are_closed_and_the_readers_own_stay():
    mine = plt.figure()
    try:
        with plt.rc_context():
            before = dict(matplotlib.rcParams)
            render(lambda: plt.figure(), {}, 50)
            render(lambda: plt.subplots() and None or plt.plot([1]) and None, {}, 50)
            assert dict(matplotlib.rcParams) == before
        assert plt.get_fignums() == [mine.number] and plt.gcf() is mine
        with pytest.raises(ZeroDivisionError):
            render(lambda level: plt.figure() and 1 / level, {"level": 0}, 50)
        assert plt.get_fignums() == [mine.number]
    finally:
        plt.close(mine)


def test_one_figure_that_is_drawn_on_again_and_again_is_closed_too():
    figure, ax = plt.subplots(figsize=(2, 1))
    first, second = (render(lambda level: ax.plot([0, level]) and figure, {"level": n}, 50).picture for n in (1, 2))
    assert first != second and plt.get_fignums() == []


@pytest.mark.parametrize("drawn, got", [("picture", "'picture'"), (3, "3"), (None, "neither")], ids=repr)
def test_what_is_no_figure_is_refused(refused, drawn, got):
    with refused(f"^draw: expected a matplotlib Figure, .* got {got}"):
        render(lambda: drawn, {}, 50)
    assert plt.get_fignums() == []


def test_where_pictures_lie_is_told_and_where_lines_lie_is_not():
    def scan_and_curve():
        figure, axes = plt.subplots(1, 3, figsize=(3, 1))
        axes[0].set_position((0.1, 0.2, 0.3, 0.6))
        axes[0].imshow(np.eye(4), aspect="auto")
        axes[1].plot([0, 1])
        axes[2].set_position((0.5, 0, 0.5, 1))
        axes[2].pcolormesh(np.eye(3))

    def whole():
        plt.figimage(np.eye(50))

    assert render(scan_and_curve, {}, 50).pictures_at == ((0.1, 0.2, 0.4, 0.8), (0.5, 0, 1, 1))
    assert render(whole, {}, 50).pictures_at == ((0, 0, 1, 1),)


def test_the_patches_of_a_legend_beside_a_picture_are_told_too():
    def scan_with_legend(shown):
        figure, ax = plt.subplots(figsize=(3, 3))
        ax.set_position((0.1, 0.3, 0.8, 0.6))
        ax.imshow(np.eye(4)) if shown else ax.plot([0, 1], label="a line")
        figure.legend(handles=[Patch(color="#f0e442", label="white matter"), Line2D([], [], label="a line")],
                      loc="lower center")
        return figure

    frame = render(scan_with_legend, {"shown": True}, 100)
    left, top, right, bottom = (round(300 * at) for at in frame.pictures_at[1])
    patch = np.asarray(frame.picture)[top + 1:bottom - 1, left + 1:right - 1]
    assert len(frame.pictures_at) == 2 and patch.size and (patch == (240, 228, 66)).all()
    assert render(scan_with_legend, {"shown": False}, 100).pictures_at == ()


def test_pictures_have_one_size(refused):
    assert same_size([picture(0), picture(1)]) == (60, 40)
    with refused("^draw: expected figures of one size, got .60, 40. and .61, 40. pixels"):
        same_size([picture(0), picture(1, width=61)])


# ---------------------------------------------------------------------------------------------------------------------
# Weight

def laid_over(uri, first):
    """What a page shows: the picture over the first one."""
    over = opened(uri).convert("RGBA").resize(first.size)
    return np.asarray(Image.alpha_composite(first.convert("RGBA"), over).convert("RGB")).astype(int)


def test_the_smaller_of_lossy_and_png_is_taken():
    checks = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)).convert("RGB")
    kept, lossy = (opened(data_uri(one, quality=85)) for one in (checks, picture(0)))
    assert (kept.format, lossy.format) == ("PNG", "AVIF")
    assert np.array_equal(np.asarray(kept.convert("RGB")), np.asarray(checks))          # a few colours stay as they are


def test_without_avif_it_is_webp(monkeypatch):
    Image.init()
    monkeypatch.delitem(Image.SAVE, "AVIF")
    assert opened(data_uri(picture(0), quality=85)).format == "WEBP"


@pytest.mark.parametrize("noise", [False, True], ids=["few colours", "many colours"])
def test_a_frame_holds_only_what_differs_from_the_first(noise):
    first = picture(0, 200, 120) if noise else Image.new("RGB", (200, 120), "white")
    second = first.copy()
    second.paste(picture(1, 30, 20) if noise else Image.new("RGB", (30, 20), (213, 94, 0)), (100, 50))
    over = data_uri(second, quality=90, first=first)
    assert not noise or len(over) < len(data_uri(second, quality=90)) / 3
    alpha = np.asarray(opened(over).convert("RGBA"))[..., 3]
    assert (alpha[50:70, 100:130] > 250).all()
    assert (alpha[:50 - BLOCK] == 0).all() and (alpha[:, :100 - BLOCK] == 0).all()
    off = abs(laid_over(over, first) - np.asarray(second))
    assert (off[alpha == 0] == 0).all() and (noise or off.max() <= 2)


def test_a_frame_like_the_first_is_all_clear():
    over = opened(data_uri(picture(0), quality=50, first=picture(0))).convert("RGBA")
    assert (np.asarray(over)[..., 3] == 0).all()


def weight_at(pictures, share, quality):
    size = tuple(round(n * share) for n in pictures[0].size)
    first, *others = (p if share == 1 else p.resize(size, Image.Resampling.LANCZOS) for p in pictures)
    return len(data_uri(first, max(quality, FIRST))) + sum(len(data_uri(p, quality, first=first)) for p in others)


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_each_step_is_taken_where_it_is_the_first_that_fits(step):
    pictures = [picture(n) for n in range(3)]
    weights = [weight_at(pictures, *each) for each in STEPS]
    assert weights[step] < min(weights[:step], default=np.inf)      # or this step would never be needed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uris = encode(pictures, weights[step])
    assert len(uris) == 3 and sum(map(len, uris)) == weights[step]
    assert opened(uris[0]).size == tuple(round(n * STEPS[step][0]) for n in pictures[0].size)


def test_a_sample_spares_the_rest_of_a_step_that_is_too_heavy(monkeypatch):
    pictures, tried = [picture(n) for n in range(40)], []
    real = frames.data_uri
    monkeypatch.setattr(frames, "data_uri",
                        lambda one, quality, **how: (tried.append(how["kind"] == "PNG" or quality),
                                                     real(one, quality, **how))[1])
    uris = encode(pictures, weight_at(pictures, *STEPS[2]))
    assert [tried.count(quality) for _, quality in STEPS[:3]] == [5, 4, 39] and len(uris) == 40
    assert tried.count(True) == 5 and tried.count(FIRST) == 1                   # as PNG; and the first, once for all


def test_what_cannot_fit_is_given_at_its_smallest_with_a_warning():
    pictures = [picture(n) for n in range(2)]
    with pytest.warns(UserWarning, match="explorer of 2 frames weighs .* kB at its smallest, .* draw fewer frames"):
        uris = encode(pictures, 100)
    assert len(uris) == 2 and opened(uris[1]).size == (30, 20)
