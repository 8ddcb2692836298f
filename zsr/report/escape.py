"""Names come from configs and files and may hold anything: here they are made harmless for HTML, scripts and LaTeX."""

import base64
import hashlib
import html
import json


def text(value: object) -> str:
    """For HTML text and quoted attributes."""
    return html.escape(str(value), quote=True)


def script_json(value: object) -> str:
    """JSON inside a <script> element: no `<`, `>` or `&` remains, so no tag and no comment can begin or end there."""
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        plain = plain.replace(sign, f"\\u{ord(sign):04x}")
    return plain


def script_code(code: str) -> str:
    """JavaScript inside a <script> element, ours or a library's; one kind of line end, so that its hash holds."""
    return code.replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def script_hash(code: str) -> str:
    """The source expression by which a Content-Security-Policy lets exactly this script run."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() + "'"


def data_uri(png: bytes) -> str:
    """An image inside the page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
