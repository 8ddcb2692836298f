// -- downloads: the table as it stands, or everything ---------------------------------------------------------------
const csvField = (x) => x == null ? "" : /[",\n\r]/.test(String(x)) ? `"${String(x).replaceAll('"', '""')}"` : String(x);
const mdField = (x) => String(x).replace(/[\\|`*_<>[\]&]/g, "\\$&").replace(/[\r\n]+/g, " ");
const TEX = {"\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#", "%": "\\%", "_": "\\_", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", '"': "\\textquotedbl{}", "|": "\\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", "ε": "$\\varepsilon$", "–": "--", "−": "$-$", "×": "$\\times$"};
const texField = (x) => [...String(x)].map((c) => TEX[c] ?? c).join("").replace(/[\r\n]+/g, " "); // as table_formats.py

function current() { // the table as shown: header and rows of {model, entries} in their present order
  const grid = DATA.grids[gridNumber()], values = entries(grid);
  const order = $$(`.grid[data-grid="${gridNumber()}"] tbody tr`).map((tr) => Number(tr.dataset.r));
  return {grid, rows: order.map((r) => ({model: grid.models[r].name, values: values[r]}))};
}

function asCsv() {
  const {grid, rows} = current(), q = shown(), at = PLACE[q];
  const head = ["model", ...grid.columns.flatMap((c) => [c.name, `${c.name} from`, `${c.name} to`])];
  const lines = rows.map((row) => [row.model, ...row.values.flatMap((e) => e ? [e[at], e[at + 1], e[at + 2]] : [null, null, null])]);
  return [head, ...lines].map((line) => line.map(csvField).join(",")).join("\n") + "\n";
}

function asAll() {
  const head = ["protocol", "backbone", "model", "train_eps", "seeds", "column", "kind", "attack", "eps", "count", "clean", "clean_lo", "clean_hi", "clean_sd", "clean_mark", "robust", "robust_lo", "robust_hi", "robust_sd", "robust_mark"];
  const lines = [head];
  for (const g of DATA.grids) for (const [key, values] of Object.entries(g.values)) {
    const [attack, eps] = key.split(SEP);
    values.forEach((row, r) => row.forEach((e, c) => { if (e) lines.push([g.protocol, g.backbone, g.models[r].name, g.models[r].eps, g.models[r].seeds, g.columns[c].name, g.columns[c].kind, attack, eps, e[COUNT], ...e.slice(0, 10)]); }));
  }
  return lines.map((line) => line.map(csvField).join(",")).join("\n") + "\n";
}

function asMarkdown() {
  const {grid, rows} = current(), at = PLACE[shown()];
  const line = (fields) => `| ${fields.join(" | ")} |`;
  const number = (e) => !e || e[at] == null ? "–" : e[at + 4] === "best" ? `**${fixed(e[at])}**` : fixed(e[at]) + (e[at + 4] === "tie" ? "†" : "");
  return [line(["model", ...grid.columns.map((c) => mdField(c.name))]), line(["---", ...grid.columns.map(() => "---:")]),
    ...rows.map((row) => line([mdField(row.model), ...row.values.map(number)])), "", mdField(captionText() + " **bold**: best; †: tied with the best (paired test, Holm)").replaceAll("\\*\\*", "**"), ""].join("\n");
}

function asLatex() {
  const {grid, rows} = current(), at = PLACE[shown()];
  const number = (e) => !e || e[at] == null ? "--" : e[at + 4] === "best" ? `\\textbf{${fixed(e[at])}}` : e[at + 4] === "tie" ? `\\underline{${fixed(e[at])}}` : fixed(e[at]);
  const line = (fields) => `  ${fields.join(" & ")} \\\\`;
  return ["% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}", "\\begin{table}", "\\centering", `\\caption{${texField(captionText())} Bold: best; underlined: tied with the best (paired test, Holm).}`,
    `\\begin{tabular}{l${"r".repeat(grid.columns.length)}}`, "  \\toprule", line(["model", ...grid.columns.map((c) => texField(c.name))]), "  \\midrule",
    ...rows.map((row) => line([texField(row.model), ...row.values.map(number)])), "  \\bottomrule", "\\end{tabular}", "\\end{table}", ""].join("\n");
}

const captionText = () => `${shown() === "clean" ? "Clean" : "Robust"} accuracy (%), protocol ${state.protocol}, backbone ${state.backbone}` + (shown() === "clean" ? "." : `, ${state.attack}, ε = ${state.eps}.`);
const MAKERS = {csv: asCsv, md: asMarkdown, tex: asLatex, all: asAll};

function save(name, content, type) {
  const link = el("a", {download: name, href: URL.createObjectURL(new Blob([content], {type}))});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
