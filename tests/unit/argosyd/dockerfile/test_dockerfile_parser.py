"""The parser against BuildKit's documented grammar, and against noise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.errors import InvalidArgument
from argosyd.dockerfile.parser import FLAGS, Instruction, parse


def one(text: str) -> Instruction:
    return parse("FROM scratch\n" + text).instructions[1]


def test_continuations_with_comments_and_blank_lines_inside() -> None:
    file = parse("FROM scratch\nRUN a \\\n  # a comment\n\n  b \\\n#c\n  c\nCMD x\n")
    run, cmd = file.instructions[1:]
    assert run.text == "a   b   c"
    assert (run.place.line, run.last_line, cmd.place.line) == (2, 7, 8)
    assert file.warnings == ("Dockerfile:4: empty continuation line",)


def test_an_escaped_escape_does_not_continue() -> None:
    file = parse("FROM scratch\nRUN echo \\\\\nCMD x\n")
    assert [i.keyword for i in file.instructions] == ["FROM", "RUN", "CMD"]


def test_the_escape_directive() -> None:
    file = parse("# syntax=docker/dockerfile:1\n# escape=`\nFROM scratch\nRUN dir `\n  c:\\\nCMD x")
    assert file.instructions[1].text == "dir   c:\\"
    assert file.escape == "`"


def test_a_directive_after_a_comment_is_a_comment() -> None:
    assert parse("# hello\n# escape=`\nFROM scratch\n").escape == "\\"


def test_windows_line_ends_and_a_byte_order_mark() -> None:
    assert [i.text for i in parse("\ufeffFROM a\r\nRUN b \\\r\n c\r\n").instructions] == ["a", "b  c"]


def test_heredocs() -> None:
    run = one("RUN <<EOF cat > /x && <<-'B' sh\none $x\nEOF\n\t\ttwo\n\tB\n")
    first, second = run.heredocs
    assert (first.name, first.content, first.expand) == ("EOF", "one $x\n", True)
    assert (second.name, second.content, second.expand) == ("B", "two\n", False)
    assert run.raw_heredocs == "\none $x\nEOF\n\t\ttwo\n\tB"


def test_shift_operators_are_no_heredocs() -> None:
    assert one("RUN echo $((1 << 2)) $((1<<2)) '<<EOF' <<<word").heredocs == ()


def test_a_heredoc_among_other_instructions_only_counts_where_it_may() -> None:
    file = parse("FROM scratch\nLABEL a=<<EOF\nCOPY <<EOF <<E2 /x/\na\nEOF\nb\nE2\nCMD x")
    assert [i.keyword for i in file.instructions] == ["FROM", "LABEL", "COPY", "CMD"]
    assert [h.name for h in file.instructions[2].heredocs] == ["EOF", "E2"]


def test_flags() -> None:
    run = one('RUN --mount=type=cache,target=/c --mount=type=tmpfs,target="/a b" --network=none make --jobs')
    assert [(f.name, f.value) for f in run.flags] == [
        ("mount", "type=cache,target=/c"),
        ("mount", 'type=tmpfs,target="/a b"'),
        ("network", "none"),
    ]
    assert run.text == "make --jobs"
    assert one("COPY --link -- --odd /x").text == "--odd /x"
    assert one("CMD --help").text == "--help"


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("", 1, 1, "no instructions"),
        ("RUN x", 1, 1, "FROM is expected before RUN"),
        ("ARG x", 1, 1, "no FROM"),
        ("FROM a\n\n  RNU x", 3, 3, "did you mean RUN"),
        ("FROM a\nXYZZY x", 2, 1, "expected one of"),
        ("FROM a b", 1, 6, "one or three arguments"),
        ("FROM a AS 1x", 1, 6, "invalid name for build stage"),
        ("FROM a\nCOPY x", 2, 6, "at least two arguments"),
        ("FROM a\nCOPY --form=b x y", 2, 6, "did you mean --from?"),
        ("FROM a\nCOPY --chown x y", 2, 6, "missing a value"),
        ("FROM a\nCOPY --from=a --from=b x y", 2, 15, "duplicate flag"),
        ("FROM a\nCOPY \\\n  --link=maybe x y", 3, 3, "true or false"),
        ("FROM a\nENV x", 2, 5, "no value"),
        ("FROM a\nENV x=1 y", 2, 5, "'y' is not NAME=VALUE"),
        ('FROM a\nENV x="1', 2, 5, "not closed"),
        ("FROM a\nARG 1x", 2, 5, "is no name"),
        ("FROM a\nRUN", 2, 4, "at least one argument"),
        ("FROM a\nSHELL sh -c", 2, 7, "JSON form"),
        ("FROM a\nUSER a b", 2, 6, "exactly one"),
        ("FROM a\nHEALTHCHECK curl", 2, 13, "expected CMD or NONE"),
        ("FROM a\nHEALTHCHECK CMD", 2, 13, "missing command"),
        ("FROM a\nHEALTHCHECK --retry=1 CMD x", 2, 13, "--retries"),
        ("FROM a\nONBUILD FROM x", 2, 9, "isn't allowed as an ONBUILD trigger"),
        ("FROM a\nONBUILD COYP x y", 2, 9, "did you mean COPY"),
        ("FROM a\nRUN <<EOF\nx\n", 2, 5, "unterminated heredoc"),
        ("# escape=x\nFROM a", 1, 1, "invalid escape"),
        ("# escape=`\n# escape=`\nFROM a", 2, 1, "only one escape"),
        ("FROM a\nRUN \0", 2, 1, "NUL byte"),
    ],
)
def test_mistakes_say_where_and_what(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(text, "Dockerfile.x")
    assert caught.value.metadata == {"file": "Dockerfile.x", "line": str(line), "column": str(column)}
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"Dockerfile.x:{line}:{column}: ")
    assert "\n" not in str(caught.value)


FRAGMENTS = st.sampled_from(
    [*FLAGS, "--from=", "--mount=type=", "<<EOF", "<<-'E'", "EOF", "\\\n", "\n", "\t", " ", "#", "# escape=`\n", '"',
     "'",     "$", "${a", ":-", "}", "[", "]", ",", "=", "a", "/x", "AS", "FROM scratch\n", "\r\n", "`", "é", "\ufeff"]
)  # fmt: skip


def test_an_instruction_may_begin_after_an_empty_continued_line() -> None:
    (found,) = parse("\\\n\t FROM scratch").instructions
    assert (found.keyword, found.text) == ("FROM", "scratch")
    assert (found.place.line, found.place.column) == (2, 3)


@settings(max_examples=400, deadline=None)
@given(st.lists(FRAGMENTS, max_size=40).map("".join) | st.text(max_size=200))
def test_noise_is_read_or_refused_with_a_line(text: str) -> None:
    try:
        file = parse(text)
    except InvalidArgument as error:
        assert 1 <= int(error.metadata["line"]) <= text.count("\n") + 1  # noqa: PT017
    else:
        assert all(i.keyword in FLAGS for i in file.instructions)
