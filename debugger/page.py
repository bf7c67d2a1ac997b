"""The page's own files: served one by one, or put into one file that needs nobody."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

ASSETS: Final = Path(__file__).parent / "assets"
TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
VENDORED: Final = {"preact": "vendor/preact.js", "preact/hooks": "vendor/hooks.js", "htm": "vendor/htm.js"}
"""As the import map of the page has them."""

IMPORT: Final = re.compile(r'^import\s*(\w+)?\s*(?:\{([^}]*)\})?\s*from\s*"([^"]+)";', re.MULTILINE)
ONWARD: Final = re.compile(r'^export\s*\{([^}]*)\}\s*from\s*"([^"]+)";', re.MULTILINE)
DECLARED: Final = re.compile(r"^export\s+((?:async\s+)?function\*?|class|const)\s+(\w+)", re.MULTILINE)
LISTED: Final = re.compile(r"export\s*\{([^}]*)\};")
DEFAULT: Final = "export default function("


def page_files() -> dict[str, tuple[bytes, str]]:
    """What the page is made of, by its path, with its type. Read once: no path of a request touches the disk."""
    return {
        path.relative_to(ASSETS).as_posix(): (path.read_bytes(), TYPES[path.suffix])
        for path in sorted(ASSETS.rglob("*"))
        if path.suffix in TYPES
    }


def one_file(recorded: object, title: str) -> bytes:
    """The page with `recorded` in it, as one HTML file that asks nobody for anything and opens from a disk.

    What was said is in it as compressed JSON in base64, so that no word of it can end a script. The policy allows the
    file's own script and style, by their hashes, and nothing else.
    """
    files = page_files()
    script = bundle({path: content.decode() for path, (content, _) in files.items()})
    style = "\n".join(files[name][0].decode() for name in ("css/base.css", "css/parts.css"))
    if re.search(r"</(script|style)|<!--", script + style, re.IGNORECASE):
        raise AssertionError("a file of the page has what would end it inside of another")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    icon = base64.b64encode(files["icon.svg"][0]).decode()
    data = base64.b64encode(gzip.compress(msgspec.json.encode(recorded), mtime=0)).decode()
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:image/svg+xml;base64,{icon}">
<style>{style}</style>
</head>
<body>
<div id="page"><p class="quiet loading">Loading …</p></div>
<noscript>This page needs JavaScript.</noscript>
<script type="application/gzip" id="recorded">{data}</script>
<script type="module">{script}</script>
</body>
</html>
""".encode()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


# ------------------------------------------------------------------ one script of many modules


def bundle(files: Mapping[str, str], entry: str = "js/main.js") -> str:
    """One script of the modules that `entry` needs, each in a scope of its own, in the order in which they are needed.

    It knows the ways in which our modules and the vendored ones import and export, and no other.

    Raises:
        ValueError: a module imports or exports in another way, or two need each other.
    """
    order: list[str] = []

    def visit(path: str, above: tuple[str, ...]) -> None:
        if path in above:
            raise ValueError(f"{path} needs itself, by way of {', '.join(above)}")
        if path in order:
            return
        for found in (*IMPORT.finditer(files[path]), *ONWARD.finditer(files[path])):
            visit(_path(path, found.groups()[-1]), (*above, path))
        order.append(path)

    visit(entry, ())
    return "\n".join(_scoped(path, files[path], order) for path in order)


def _path(here: str, wanted: str) -> str:
    return VENDORED.get(wanted) or posixpath.normpath(posixpath.join(posixpath.dirname(here), wanted))


def _scoped(path: str, code: str, order: list[str]) -> str:
    given: list[str] = []

    def of(wanted: str) -> str:
        return f"module{order.index(_path(path, wanted))}"

    def imported(found: re.Match[str]) -> str:
        alone, names, wanted = found.groups()
        taken = [f"default: {alone}"] if alone else []
        taken += [one.replace(" as ", ": ") for one in _names(names)]
        return f"const {{ {', '.join(taken)} }} = {of(wanted)};"

    def onward(found: re.Match[str]) -> str:
        given.extend(f"{(pair := _pair(one))[1]}: {of(found[2])}.{pair[0]}" for one in _names(found[1]))
        return ""

    def declared(found: re.Match[str]) -> str:
        given.append(found[2])
        return f"{found[1]} {found[2]}"

    def listed(found: re.Match[str]) -> str:
        given.extend(f"{(pair := _pair(one))[1]}: {pair[0]}" for one in _names(found[1]))
        return ""

    code = IMPORT.sub(imported, code)
    code = ONWARD.sub(onward, code)
    code = DECLARED.sub(declared, code)
    code = LISTED.sub(listed, code)
    if DEFAULT in code:
        code = code.replace(DEFAULT, "function byDefault(")
        given.append("default: byDefault")
    if re.search(r"^\s*(import|export)\b", code, re.MULTILINE) or "export default" in code:
        raise ValueError(f"{path} imports or exports in a way that cannot be put into one file")
    return f"const module{order.index(path)} = (() => {{\n{code}\nreturn {{ {', '.join(given)} }};\n}})();"


def _names(listed: str | None) -> list[str]:
    return [one.strip() for one in (listed or "").split(",") if one.strip()]


def _pair(name: str) -> tuple[str, str]:
    inside, _, outside = name.partition(" as ")
    return inside, outside or inside
