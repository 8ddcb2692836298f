"""Rows of a figure as columns, with repeated names replaced by numbers: a sixth of the bytes inside the page."""


def pack(rows: list[dict]) -> dict[str, object]:
    """{'n': rows, 'columns': {name: [values] or {'of': [distinct], 'at': [numbers]}}}; every row must have all keys."""
    columns: dict[str, list | dict[str, list]] = {}
    for name in rows[0] if rows else {}:
        values = [row[name] for row in rows]
        distinct = list(dict.fromkeys(values))
        if isinstance(values[0], str) and len(distinct) < len(values):
            number = {value: i for i, value in enumerate(distinct)}
            columns[name] = {"of": distinct, "at": [number[value] for value in values]}
        else:
            columns[name] = values
    return {"n": len(rows), "columns": columns}


def pack_spec(spec: dict) -> dict:
    """A Vega-Lite JSON with its `datasets` packed; the page's script restores them."""
    return spec | {"datasets": {name: pack(rows) for name, rows in spec.get("datasets", {}).items()}}
