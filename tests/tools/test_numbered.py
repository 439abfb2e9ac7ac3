"""A page is read once for all references to its figures; all else is Sphinx's own."""
import sys
from types import SimpleNamespace

from chapters import ROOT

sys.path.insert(0, str(ROOT / "book/_ext"))
from numbered import ReadOnce  # noqa: E402


def test_a_page_is_read_once():
    read = []

    class Environment(SimpleNamespace):
        __hash__ = object.__hash__

        def get_doctree(self, name):
            read.append(name)
            return [name]

    env = Environment(config="numfig")
    first, again, other = (ReadOnce(env).get_doctree(name) for name in ("one", "one", "two"))
    assert first is again and other == ["two"] and read == ["one", "two"]
    assert ReadOnce(env).config == "numfig"
