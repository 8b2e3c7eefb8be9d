"""How the commands of the docs are found, before `tests/e2e/test_docs.py` runs them."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from tests.support import documents
from tests.support.documents import Block, Command

TEXT = """# Title

```console
$ one
printed
by one
$ two \\
    --long
```

```python
not_run()
```

<!-- tested-by: tests/e2e/test_x.py -->

```sh
a
b
```

<!-- tested-by: tests/e2e/test_y.py -->
Prose in between ends what the comment says.

~~~yaml
kind: DataPipeline
~~~
"""


def test_blocks_commands_and_outputs(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text(TEXT)
    console, script, manifest = documents.blocks(document)
    assert console == Block(document, 3, "console", "$ one\nprinted\nby one\n$ two \\\n    --long")
    assert console.commands == (Command("one", ("printed", "by one")), Command("two \\\n    --long"))
    assert (script.number, script.tested_by, script.commands) == (17, "tests/e2e/test_x.py", (Command("a\nb"),))
    assert (manifest.language, manifest.text, manifest.tested_by) == ("yaml", "kind: DataPipeline", None)


def test_a_console_block_without_a_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.md:7: a console block begins with a line `\$ command`"):
        _ = Block(tmp_path / "a.md", 7, "console", "make").commands


@pytest.mark.parametrize(
    ("printed", "shown", "expected"),
    [
        ("", (), True),
        ("anything", (), True),
        ("a\n", ("a",), True),
        ("a\nb\n", ("a",), False),
        ("a\nb\n", ("a", "..."), True),
        ("x\na\n", ("...", "a"), True),
        ("took 1.5 s\n", ("took ... s",), True),
        ("a+b\n", ("a.b",), False),
    ],
)
def test_what_is_printed_is_compared(printed: str, shown: tuple[str, ...], expected: bool) -> None:
    assert documents.matches(printed, shown) is expected


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(documents).failed == 0
