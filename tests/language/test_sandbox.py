"""The sandbox holds on its own, also for what the reader of expressions lets through."""

from __future__ import annotations

import pytest
from jinja2.exceptions import SecurityError, UndefinedError

from muster.language.filters import FILTERS
from muster.language.sandbox import Sandbox, loop_budget

ATTACKS = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ x.__init__.__globals__ }}",
    "{{ x.run() }}",
    "{{ range.__self__ }}",
    "{{ ''['__class__']['__base__'] }}",
    "{{ self._TemplateReference__context }}",
    "{{ self.__init__ }}",
    "{{ (x | string).format(x) }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '%s' % x }}",
    "{{ {}.update({'a': 1}) }}",
    "{% for i in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for i in [1] %}{{ loop._iterator }}{% endfor %}",
    "{% for i in [1] %}{{ loop.cycle('a') }}{% endfor %}",
]


class Thing:
    """An object that should never have come near an expression."""

    secret = "x"

    def run(self) -> str:
        """Must not be called."""
        raise AssertionError("it was called")


@pytest.mark.parametrize("text", ATTACKS)
def test_objects_stay_closed_even_when_one_gets_in(text: str) -> None:
    with pytest.raises((SecurityError, UndefinedError)):
        Sandbox().from_string(text).render(x=Thing(), **loop_budget())


def test_nothing_can_be_called_but_range() -> None:
    sandbox = Sandbox()
    assert sandbox.is_safe_callable(sandbox.globals["range"])
    for other in (print, len, str, Thing, Thing().run, [].append, sandbox.filters["join"]):
        assert not sandbox.is_safe_callable(other)


def test_loops_stop_after_a_number_of_rounds_that_all_of_them_share() -> None:
    template = Sandbox().from_string("{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}")
    assert template.render(x=range(200), **loop_budget()) == ""
    with pytest.raises(SecurityError, match="100,000 rounds"):
        template.render(x=range(400), **loop_budget())


def test_the_filters_are_the_listed_ones() -> None:
    offered = {name for name in Sandbox().filters if " " not in name}
    assert offered == set(FILTERS)
    assert not offered & {
        "attr",
        "format",
        "center",
        "indent",
        "batch",
        "slice",
        "random",
        "safe",
        "pprint",
        "xmlattr",
    }
