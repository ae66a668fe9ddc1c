"""Options under headings, and the words that a shell completes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import get_args

import click
import pytest

from steer_plugin.cli.main import run_command, steer_plugin
from steer_plugin.cli.sections import Section, SectionedOption

SCRIPT_ENDS = {"bash": "complete -o nosort", "zsh": "compdef", "fish": "complete --no-files"}


def commands(group: click.Group) -> Iterator[click.Command]:
    """Give every command below a group."""
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from commands(command)


def test_every_option_of_every_command_says_its_section() -> None:
    options = [
        (command.name, option)
        for command in commands(steer_plugin)
        for option in command.params
        if isinstance(option, click.Option)
    ]
    assert len(options) > 100
    assert {option.section for _, option in options if isinstance(option, SectionedOption)} == set(
        get_args(Section)
    )
    assert [pair for pair in options if not isinstance(pair[1], SectionedOption)] == []


def test_help_lists_options_by_section_in_one_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["measure", "--help"]) == 0

    out = capsys.readouterr().out
    headings = [line for line in out.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == [
        *("Model:", "Sentences:", "Steering:", "Measurement:", "Output:", "Help:"),
    ]
    assert out.index("--quantize") < out.index("Sentences:") < out.index("--corpus")


@pytest.mark.parametrize("shell", sorted(SCRIPT_ENDS))
def test_a_script_is_printed_for_each_shell(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_command(["completion", shell]) == 0
    script = capsys.readouterr().out

    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    assert run_command(["completion"]) == 0

    assert capsys.readouterr().out == script
    assert SCRIPT_ENDS[shell] in script
    assert "_STEER_PLUGIN_COMPLETE" in script


@pytest.mark.parametrize("given", ["/bin/sh", None])
def test_another_shell_is_told_which_there_are(
    given: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is None:
        monkeypatch.delenv("SHELL", raising=False)
    else:
        monkeypatch.setenv("SHELL", given)

    assert run_command(["completion"]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("; give one of bash, zsh, fish\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="without bash")
def test_bash_completes_options_and_names_of_parts() -> None:
    script = f"""
set -u
steer-plugin() {{ {sys.executable} -P -m steer_plugin "$@"; }}
export -f steer-plugin
eval "$(steer-plugin completion bash)"
COMP_WORDS=(steer-plugin find --score me) COMP_CWORD=3
_STEER_PLUGIN_COMPLETE=bash_complete COMP_WORDS="${{COMP_WORDS[*]}}" COMP_CWORD=3 steer-plugin
"""
    environment = {name: text for name, text in os.environ.items() if name != "SHELL"}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "plain,mean_difference\n"
