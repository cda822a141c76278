"""Go templates over what inspect and ps show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.cli.options import UsageError
from argosy.cli.output.listing import render as render_row
from argosy.cli.output.template import render

OBJECT = {
    "Name": "/web",
    "State": {"Running": True, "ExitCode": 0, "Health": None},
    "Config": {"Env": ["A=1", "B=<2>"], "Labels": {"com.example": "x", "b": "y"}},
    "NetworkSettings": {
        "IPAddress": "172.17.0.2",
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}, "front": {"IPAddress": "10.0.0.2"}},
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": None},
    },
    "Size": 5,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}}", "/web"),
        ("{{ .State.Running }} {{.State.ExitCode}}", "true 0"),
        ("{{.Config.Env}}", "[A=1 B=<2>]"),
        ("{{.Config.Labels}}", "map[b:y com.example:x]"),
        ("{{json .Config.Env}}", '["A=1","B=<2>"]'),
        ('{{index .Config.Labels "com.example"}}', "x"),
        ("{{index .Config.Env 1}}", "B=<2>"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{range .Config.Env}}{{.}};{{end}}", "A=1;B=<2>;"),
        (
            "{{range $name, $net := .NetworkSettings.Networks}}{{$name}}={{$net.IPAddress}} {{end}}",
            "bridge=172.17.0.2 front=10.0.0.2 ",
        ),
        ("{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}", "A=1,B=<2>"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .State.Health}}{{.State.Health.Status}}{{else if .State.Running}}none{{else}}down{{end}}", "none"),
        ("{{with .State.Health}}x{{else}}no health{{end}}", "no health"),
        ('{{join .Config.Env ","}}', "A=1,B=<2>"),
        ('{{.Name | upper | printf "%-6s|"}}', "/WEB  |"),
        ("{{len .Config.Env}}", "2"),
        ('{{if eq .Name "/x" "/web"}}y{{end}}', "y"),
        ("{{if and .State.Running (not .State.Health)}}y{{end}}", "y"),
        ("a {{- /* no */ -}} b", "ab"),
        ("{{- .Size -}} \n x", "5x"),
        ("{{println .Size}}", "5\n"),
        ('{{printf "%q %5d %s" .Name .Size .State.Running}}', '"/web"     5 true'),
        ("{{.Config.Labels.nope}}", "<no value>"),
        ("{{`raw }} text`}}", "raw }} text"),
        ("{{$x := .Name}}{{$x}}{{$.Size}}", "/web5"),
        ("{{range .State.Health}}x{{else}}none{{end}}", "none"),
        ("no action", "no action"),
    ],
)
def test_templates(template: str, text: str) -> None:
    assert render(template, OBJECT) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{.Nope}}",
        "{{.Name",
        "{{nope .Name}}",
        "{{end}}",
        "{{if .Name}}x",
        "{{range .Size}}{{end}}",
        "{{index .Config.Env 7}}",
        "{{.State.Health.Status}}",
        "{{.Name | }}",
        "{{(.Name}}",
        "{{$nope}}",
        "{{if .Name}}a{{else}}b{{else}}c{{end}}",
        "{{'x}}",
    ],
)
def test_wrong_templates(template: str) -> None:
    with pytest.raises(UsageError):
        render(template, OBJECT)


ACTIONS = st.sampled_from(
    [
        "{{",
        "}}",
        "if",
        "range",
        "end",
        "else",
        "with",
        ".",
        ".Name",
        "$x",
        ":=",
        "(",
        ")",
        "|",
        " ",
        '"a"',
        "json",
        "index",
        "5",
        "-",
    ]
)


@given(st.one_of(st.text(max_size=30), st.lists(ACTIONS, max_size=14).map("".join)))
def test_any_template_renders_or_is_refused(template: str) -> None:
    try:
        render(template, OBJECT)
    except UsageError:
        pass


@given(
    st.lists(st.sampled_from(["{{.ID}}", "{{.Names}}", "\t", "x", "{{ .ID }}", "{{upper .ID}}"]), max_size=6).map(
        "".join
    )
)
def test_plain_rows_are_rendered_as_the_engine_would(template: str) -> None:
    row = {"ID": "abc", "Names": "web"}
    assert render_row(template, row) == render(template, row)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{if .Name}}" * 60, "blocks one inside another"),
        ("{{" + "(" * 60 + ".Name" + ")" * 60 + "}}", "parentheses one inside another"),
        ("{{if .Name}}" + "{{else if .Name}}" * 60 + "{{end}}", "blocks one inside another"),
        ("x" * 70_000, "at most 65536 characters"),
    ],
)
def test_templates_have_an_end(template: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        render(template, OBJECT)


def test_a_chain_of_else_ifs() -> None:
    template = "{{if .State.Health}}a{{else if .Nothing}}b{{else if eq .Size 5}}c{{else}}d{{end}}e"
    assert render(template, {**OBJECT, "Nothing": 0}) == "ce"
