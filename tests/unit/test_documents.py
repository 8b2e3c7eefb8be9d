"""How the commands of the docs are found, before `tests/e2e/test_docs.py` runs them."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from tools import check_docs, documents
from tools.documents import Block, Command

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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](other.md) and [b](other.md#the-second-one) and [c](#here)\n# Here\n", []),
        ("see [a](absent.md)", ["a.md:1: the link to absent.md leads nowhere"]),
        ("x\n[a](other.md#third)", ["a.md:2: the link to other.md#third leads to no heading of other.md"]),
        ("[a](../outside.md)", ["a.md:1: the link to ../outside.md leads nowhere"]),
        ("[a](https://example.com/absent)", []),
        ("```yaml\n[a](absent.md)\n```", []),
        ("```console\nmake\n```", ["a.md:1: a console block begins with a line `$ command`"]),
        ("<!-- tested-by: tests/test_x.py -->\n```console\n$ make test --fast\n```", []),
        (
            "<!-- tested-by: tests/test_x.py -->\n```console\n$ make bench\n```",
            ["a.md:2: tests/test_x.py doesn't mention bench of `make bench`"],
        ),
        (
            "<!-- tested-by: tests/absent.py -->\n```sh\nmake\n```",
            ["a.md:2: tested-by names tests/absent.py, which doesn't exist"],
        ),
    ],
)
def test_faults_of_documents_are_named(tmp_path: Path, text: str, said: list[str]) -> None:
    (tmp_path / "a.md").write_text(text)
    (tmp_path / "other.md").write_text("# First\n## The second, `one`\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text("run(['make', 'test'])")
    assert check_docs.problems(tmp_path) == said


def test_our_documents_have_no_faults() -> None:
    assert check_docs.problems(check_docs.ROOT) == []
