"""The section of the alarms: one table for each kind."""

import pandas as pd

from zsr.report.escape import text

HEAD = "".join(f"<th scope='col'>{name}</th>" for name in ("protocol", "backbone", "model", "set", "attack", "ε", ""))


def html(alarms: pd.DataFrame) -> str:
    """The table `alarms`, by severity and kind, or one line where there is none."""
    if alarms.empty:
        return "<p class='good'>None: nothing in these results contradicts itself.</p>"
    parts = []
    for (severity, kind), group in alarms.groupby(["severity", "kind"], sort=False):
        rows = "".join(
            "<tr>" + "".join(f"<td>{text(item)}</td>" for item in line) + "</tr>"
            for line in group[["protocol", "backbone", "model", "dataset", "attack", "eps", "message"]].itertuples(
                index=False, name=None
            )
        )
        parts.append(
            f"<details class='{text(severity)}'{' open' if severity == 'alarm' and len(group) <= 8 else ''}><summary>"
            f"<span class='tag'>{text(severity)}</span> {text(kind)} <small>({len(group)})</small></summary>"
            f"<div class='scroll' role='region' tabindex='0' aria-label='{text(kind)}'><table class='plain'><thead><tr>"
            f"{HEAD}</tr></thead><tbody>{rows}</tbody></table></div></details>"
        )
    return "".join(parts)
