"""What README and docs tell people to type works, and what they point at is there."""

from __future__ import annotations

import re
import shlex
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import yaml

from apps.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "docs/quickstart.md",
    "docs/cli.md",
    "docs/configuration.md",
    "docs/operations.md",
    "docs/gladiators.md",
    "docs/vault.md",
    "docs/daemon.md",
)


def commands(page: str) -> list[str]:
    """The lines of a page's shell blocks that call hydra."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("hydra ")]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_works_in_its_order(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    monkeypatch.delenv("HYDRA_DB_URL", raising=False)
    monkeypatch.delenv("HYDRA_VAULT", raising=False)
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b"a secret\n")))
    assert run(["replay", "--bars", "data/sample/crypto_4h.csv", "--quiet"]) == 0  # make run
    typed = commands(page)
    assert typed
    for line in typed:
        words = shlex.split(line)[1:]
        words = [str(tmp_path / "report.html") if w.endswith("report.html") else w for w in words]
        words = [w.replace("/path/to", str(tmp_path)) for w in words]
        with monkeypatch.context() as patch:
            if words[0] == "vault":  # what a user would type where it asks
                patch.setenv("TRADING_VAULT_PASSWORD", "correct horse battery")
                patch.setenv("TRADING_VAULT_NEW_PASSWORD", "staple of another kind")
            code = run(words)
        shown = capsys.readouterr()
        assert code == 0, f"{line}: {shown.err}"
        assert shown.out or "--quiet" in words or "report" in words, line


@pytest.mark.parametrize("page", [*PAGES, "data/sample/README.md"])
def test_links_and_pictures_of_a_page_are_there(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8")):
        assert "://" in target or (path.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_that_a_page_names_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"\bmake ([a-z]+)\b", (ROOT / page).read_text("utf-8")):
        if target not in ("it", "no"):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_readme_begins_with_run_test_and_a_picture() -> None:
    first_screen = (ROOT / "README.md").read_text("utf-8")[:1_200]

    for must in ("make run", "make test", "docs/images/report.png"):
        assert must in first_screen
    assert (ROOT / "docs/images/report.png").stat().st_size <= 250_000


def test_the_compose_file_is_valid_and_opens_no_port_to_others() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))

    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
