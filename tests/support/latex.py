"""A small checker of LaTeX tables: what would stop pdflatex, or shift a column, is refused where there is no TeX."""

import re

COMMANDS = {"begin", "end", "centering", "caption", "toprule", "midrule", "bottomrule", "textbf", "underline",
            "textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textquotedbl", "textbar",
            "varepsilon", "times"}  # fmt: skip
TOKEN = re.compile(r"%[^\n]*\n|\\[A-Za-z]+|\\.|\\\n|[{}$&#_^~]|[^\\{}$&#_^~%]+", re.DOTALL)


def check(text: str) -> list[list[str]]:
    """The rows of the one tabular in `text`, each a list of cells; raises AssertionError where it would not compile."""
    assert "".join(TOKEN.findall(text)) == text, "a sign that is no token: a lone backslash or percent"
    environments, depth, math, row, cell = [], 0, False, [], ""
    rows: list[list[str]] = []
    tokens = TOKEN.findall(text)
    for at, token in enumerate(tokens):
        inside = environments and environments[-1] == "tabular"
        if token.startswith("%"):
            continue
        if token in ("\\begin", "\\end"):
            name = re.match(r"\{?(\w+)", "".join(tokens[at + 1 : at + 3]))[1]
            if token == "\\begin":
                environments.append(name)
            else:
                assert environments and environments.pop() == name, f"\\end{{{name}}} closes nothing"
        elif token == "\\\\":
            assert inside and depth == 0, "a row ends outside the table or inside a group"
            following = next((t for t in tokens[at + 1 :] if t.strip()), "").lstrip()
            assert not following.startswith(("[", "*")), "read as an argument of \\\\"
            rows.append([*row, cell])
            row, cell = [], ""
            continue
        elif token == "&":
            assert inside and depth == 0, "a column outside the table"
            row.append(cell)
            cell = ""
            continue
        elif token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            assert depth >= 0, "a brace too many"
        elif token == "$":
            math = not math
        elif token in ("#", "_", "^", "~"):
            assert math, f"{token} outside mathematics"
        elif token.startswith("\\") and token[1:].isalpha():
            assert token[1:] in COMMANDS, f"unknown command {token}"
            assert token != "\\varepsilon" or math
        elif "ε" in token or "–" in token:
            raise AssertionError("a sign that pdflatex does not know without packages")
        cell += token
    assert depth == 0 and not math and not environments, "something is left open"
    columns = re.search(r"\\begin\{tabular\}\{([lrc]+)\}", text)[1]
    rows[0][0] = rows[0][0].split("\\toprule")[-1]
    for number, found in enumerate(rows):
        assert len(found) == len(columns), f"row {number} has {len(found)} columns, the table {len(columns)}"
    return [[item.replace("\\midrule", "").strip() for item in found] for found in rows]
