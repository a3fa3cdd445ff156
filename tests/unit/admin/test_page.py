"""The page as a file: what it may do, and that it asks nobody but us. How it looks and works is tested in a browser (tests/browser)."""

import re
from importlib.resources import files

import pytest

from poller.admin.page import page, policy

TEXT = files("poller.admin").joinpath("page.html").read_text(encoding="utf-8")


def test_the_policy_allows_just_this_script_and_this_style_and_asking_us() -> None:
    said = policy("<style>a</style><script>b</script>")

    assert said.split("; ")[:5] == [
        "default-src 'none'",
        "script-src 'sha256-PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0='",
        "style-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='",
        "connect-src 'self'",
        "img-src data:",
    ]
    assert page().headers["content-security-policy"] == policy(TEXT)


@pytest.mark.parametrize("text", ["<style>a</style>", "<style>a</style><script>b</script><script>c</script>"])
def test_a_page_with_another_number_of_scripts_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="unpack"):
        policy(text)


def test_it_names_no_other_server_and_makes_no_html_of_what_it_is_told() -> None:
    addresses = set(re.findall(r"(?:https?:)?//[a-z][^\s'\"<>)]*", re.sub(r"^\s*//.*$", "", TEXT, flags=re.MULTILINE)))

    assert addresses == {"http://www.w3.org/2000/svg"}
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        " style=",
        " onclick=",
        "@import",
    ):
        assert forbidden not in TEXT
