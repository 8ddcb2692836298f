// The report's behaviour: one choice (protocol, backbone, attack, ε) drives the answer, the table and all figures.
const DATA = JSON.parse(document.getElementById("payload").textContent);
const SEP = "\x1f";
for (const spec of Object.values(DATA.figures)) { // as columnar.py
  for (const [name, {n, columns}] of Object.entries(spec.datasets)) {
    const read = Object.entries(columns).map(([key, column]) => [key, Array.isArray(column) ? (i) => column[i] : (i) => column.of[column.at[i]]]);
    spec.datasets[name] = Array.from({length: n}, (_, i) => Object.fromEntries(read.map(([key, at]) => [key, at(i)])));
  }
}
const state = {...DATA.start, view: "both", sort: {column: null, down: true}};
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const el = (tag, props = {}, ...children) => { const node = Object.assign(document.createElement(tag), props); node.append(...children); return node; };
// places in an entry of a grid: share, from, to, deviation over seeds, mark (see grid.py), and the count at the end
const PLACE = {clean: 0, robust: 5}, COUNT = 10;
const shown = () => state.view === "clean" ? "clean" : "robust";
const fixed = (x) => x == null ? "–" : x.toFixed(1);

// -- the table ------------------------------------------------------------------------------------------------------
const gridNumber = () => DATA.grids.findIndex((g) => g.protocol === state.protocol && g.backbone === state.backbone);
const entries = (grid) => grid.values[state.attack + SEP + state.eps] ?? grid.models.map(() => grid.columns.map(() => null));

function fillCell(td, entry) {
  const at = PLACE[shown()];
  if (!entry || entry[at] == null) { td.className = ""; td.replaceChildren(el("span", {className: "main", textContent: "–"})); return; }
  const [share, from, to, spread, mark] = entry.slice(at, at + 5);
  const main = el("span", {className: "main"}, fixed(share));
  if (spread != null) main.append(el("span", {className: "sd", textContent: "±" + fixed(spread)}));
  if (mark) main.append(el("span", {className: "vh", textContent: mark === "best" ? " best" : " tied"}));
  td.className = mark;
  td.replaceChildren(main, el("span", {className: "ci", textContent: `${fixed(from)}–${fixed(to)}`}));
  if (state.view === "both") td.append(el("span", {className: "sub"}, el("span", {className: "vh", textContent: "clean "}), fixed(entry[0])));
}

function drawTable() {
  const number = gridNumber();
  $$(".grid").forEach((node) => { node.hidden = Number(node.dataset.grid) !== number; });
  if (number < 0) return;
  const grid = DATA.grids[number], values = entries(grid), box = $(`.grid[data-grid="${number}"]`);
  const rows = $$("tbody tr", box).sort((a, b) => a.dataset.r - b.dataset.r);
  rows.forEach((tr) => $$("td", tr).forEach((td) => {
    fillCell(td, values[tr.dataset.r][td.dataset.c]);
    td.classList.toggle("m", grid.columns[td.dataset.c].kind === "mean");
    td.tabIndex = -1;
  }));
  const {column, down} = state.sort;
  if (column === -1) rows.sort((a, b) => grid.models[a.dataset.r].name.localeCompare(grid.models[b.dataset.r].name) * (down ? -1 : 1));
  else if (column != null) {
    const worth = (tr) => values[tr.dataset.r][column]?.[PLACE[shown()]] ?? -1;
    rows.sort((a, b) => (worth(b) - worth(a)) * (down ? 1 : -1));
  }
  $("tbody", box).append(...rows);
  $$("thead th", box).forEach((th) => {
    const mine = Number($("button", th).dataset.column) === column;
    th.setAttribute("aria-sort", mine ? (down ? "descending" : "ascending") : "none");
  });
  const first = $("tbody td", box);
  if (first) first.tabIndex = 0; // one stop in the tab order; arrow keys move on from there
}

function sortBy(column) {
  const sort = state.sort;
  const firstDown = column !== -1;
  if (sort.column !== column) state.sort = {column, down: firstDown};
  else if (sort.down === firstDown) state.sort = {column, down: !firstDown};
  else state.sort = {column: null, down: true}; // a third press restores the order of the config
  drawTable();
}

function describe(td) {
  const grid = DATA.grids[gridNumber()], model = grid.models[td.parentNode.dataset.r], column = grid.columns[td.dataset.c];
  const entry = entries(grid)[td.parentNode.dataset.r][td.dataset.c];
  const where = `${model.name} · ${column.name}`;
  if (!entry) return `${where}\nno result for ${state.attack} at ε = ${state.eps}`;
  const line = (name) => {
    const [share, from, to, spread] = entry.slice(PLACE[name], PLACE[name] + 4);
    return share == null ? `${name}: –` : `${name} ${fixed(share)} % [${fixed(from)}, ${fixed(to)}]${spread == null ? "" : ` ± ${fixed(spread)} over seeds`}`;
  };
  const count = column.kind === "mean" ? `mean over ${entry[COUNT]} sets` : `${entry[COUNT]} images`;
  const mark = {best: "\nbest of its column", tie: "\ntied with the best"}[entry[PLACE[shown()] + 4]] ?? "";
  return `${where}\n${line("robust")}\n${line("clean")}\n${count}${mark}`;
}

const tip = $("#tip");
function showTip(td) {
  tip.textContent = describe(td);
  tip.hidden = false;
  const at = td.getBoundingClientRect(), size = tip.getBoundingClientRect();
  tip.style.left = Math.max(8, Math.min(at.left, innerWidth - size.width - 8)) + "px";
  tip.style.top = (at.bottom + size.height + 8 > innerHeight ? at.top - size.height - 6 : at.bottom + 6) + "px";
  td.setAttribute("aria-describedby", "tip");
}
function hideTip() { tip.hidden = true; $$("[aria-describedby=tip]").forEach((td) => td.removeAttribute("aria-describedby")); }

function move(td, key) {
  const row = td.parentNode, places = $$("td", row), i = places.indexOf(td);
  const target = {ArrowLeft: places[i - 1], ArrowRight: places[i + 1], Home: places[0], End: places.at(-1),
    ArrowUp: row.previousElementSibling && $$("td", row.previousElementSibling)[i],
    ArrowDown: row.nextElementSibling && $$("td", row.nextElementSibling)[i]}[key];
  if (!target) return;
  td.tabIndex = -1; target.tabIndex = 0; target.focus();
}

// -- downloads: the table as it stands, or everything ---------------------------------------------------------------
const csvField = (x) => x == null ? "" : /[",\n\r]/.test(String(x)) ? `"${String(x).replaceAll('"', '""')}"` : String(x);
const mdField = (x) => String(x).replace(/[\\|`*_<>[\]&]/g, "\\$&").replace(/[\r\n]+/g, " ");
const TEX = {"\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#", "%": "\\%", "_": "\\_", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", '"': "\\textquotedbl{}", "ε": "$\\varepsilon$"};
const texField = (x) => String(x).replace(/[\\{}$&#%_~^<>"ε]/g, (c) => TEX[c]).replace(/[\r\n]+/g, " ");

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

// -- evidence -------------------------------------------------------------------------------------------------------
function unpack({pool, roots}) { // as evidence.py
  const expand = (item) => item !== null && typeof item === "object" ? build(pool[item.$]) : item;
  const build = (stored) => Array.isArray(stored) ? stored.map(expand) : stored !== null && typeof stored === "object" ? Object.fromEntries(Object.entries(stored).map(([k, v]) => [k, expand(v)])) : stored;
  return roots.map((place) => build(pool[place]).value);
}
const once = (make) => { let made; return () => (made ??= make()); };
const LISTS = {evidence: once(() => unpack(DATA.evidence)), models: once(() => unpack(DATA.models))};

function proofTable(record) {
  const rows = Object.entries(record).map(([name, value]) => el("tr", {}, el("th", {scope: "row", textContent: name}),
    el("td", {}, typeof value === "object" && value !== null ? el("pre", {textContent: JSON.stringify(value, null, 1)}) : el("code", {textContent: value}))));
  return el("table", {className: "plain"}, el("tbody", {}, ...rows));
}

function openProof(td) {
  const grid = DATA.grids[gridNumber()], model = grid.models[td.parentNode.dataset.r], column = grid.columns[td.dataset.c];
  const known = LISTS.evidence().filter((c) => c.protocol === state.protocol && c.model.backbone === state.backbone && (c.model.train_eps ?? "") === model.eps
    && (c.model.name === model.name || `${c.model.name} (${c.model.train_eps ?? "no ε"})` === model.name)
    && (column.kind === "mean" || c.dataset.name === column.name) && c.eps === state.eps
    && (state.attack.startsWith("worst case") || (c.attack.label ?? c.attack.name) === state.attack));
  $("#proof-title").textContent = describe(td).split("\n")[0];
  const parts = known.map((c) => el("details", {open: known.length === 1}, el("summary", {}, `${c.dataset.name}, ${c.attack.label ?? c.attack.name}, ε = ${c.eps}, seed ${c.model.seed}: ${c.robust_correct} of ${c.n} stand, ${c.clean_correct} clean`), proofTable(c)));
  $("#proof > div").replaceChildren(el("p", {textContent: describe(td).split("\n").slice(1).join(" · ")}), ...(known.length ? parts : [el("p", {textContent: "No cell was measured here."})]));
  hideTip();
  $("#proof").showModal();
}

function fillList(details) {
  if ($("table, .scroll", details)) return;
  const kind = details.dataset.list, records = LISTS[kind]();
  const head = kind === "models" ? ["id", "seconds", "spec"] : ["model", "set", "attack", "ε", "stand", "seconds", "spec", "digest"];
  const brief = (c) => kind === "models" ? [c.id, c.seconds?.toFixed?.(1) ?? "–", (c.spec_hash ?? "").slice(0, 12)]
    : [c.model.id, c.dataset.name, c.attack.label ?? c.attack.name, c.eps, `${c.robust_correct}/${c.n}`, c.seconds.toFixed(1), c.spec_hash.slice(0, 12), (c.digest ?? "").slice(0, 12)];
  const body = el("tbody");
  records.forEach((c) => {
    const button = el("button", {type: "button", textContent: "all"});
    button.addEventListener("click", () => { $("#proof-title").textContent = brief(c).slice(0, 4).join(" · "); $("#proof > div").replaceChildren(proofTable(c)); $("#proof").showModal(); });
    body.append(el("tr", {}, ...brief(c).map((x) => el("td", {textContent: x})), el("td", {}, button)));
  });
  details.append(el("div", {className: "scroll"}, el("table", {className: "plain"}, el("thead", {}, el("tr", {}, ...head.map((x) => el("th", {scope: "col", textContent: x})), el("th", {scope: "col"}, el("span", {className: "vh", textContent: "details"})))), body)));
}

// -- figures: the static picture becomes interactive when it comes into view ----------------------------------------
const views = new Map();
const SHARED = ["protocol", "backbone", "attack", "eps"];

function fitted(spec, width, less = 0) { // `less`: pixels by which each panel of a first try was too wide
  spec = structuredClone(spec);
  spec.params = (spec.params ?? []).map((p) => SHARED.includes(p.name) ? {name: p.name, value: state[p.name]} : p);
  spec.config.legend.columns = Math.max(1, Math.floor(width / 130));
  if (spec.facet) { // as many panels side by side as fit
    const own = spec.resolve?.scale?.y === "independent" ? 48 : 0, gap = 20, edge = 58;
    const inner = spec.spec, wanted = inner.width + own;
    const columns = Math.max(1, Math.min(spec.columns, Math.round((width - edge) / (wanted + gap))));
    spec.columns = columns;
    inner.width = Math.max(120, Math.floor((width - edge - (columns - 1) * gap) / columns) - own - less);
  } else if (spec.width) {
    spec.width = Math.max(width, spec.usermeta?.least ?? 0); // a heat map of many sets scrolls instead of shrinking
    spec.autosize = {type: "fit-x", contains: "padding"};
  }
  return spec;
}

async function draw(node) {
  const name = node.dataset.figure, holder = node.closest("figure");
  views.get(name)?.finalize();
  const target = el("div");
  const width = holder.clientWidth;
  const bind = $(".bind", holder);
  bind.replaceChildren();
  const embed = (less) => window.vegaEmbed(target, fitted(DATA.figures[name], width, less), {actions: false, renderer: "svg", bind, tooltip: {theme: "custom"}, loader: {load: () => Promise.reject(new Error("this page loads nothing"))}});
  let result = await embed(0);
  const spec = DATA.figures[name], over = $("svg", target).getAttribute("width") - width;
  if (spec.facet && over > 0) { // axes took more room than guessed
    const columns = fitted(spec, width).columns;
    result.finalize();
    result = await embed(Math.ceil(over / columns));
  }
  node.classList.add("live");
  node.replaceChildren(target);
  node.dataset.width = width;
  views.set(name, result.view);
  const tools = $(".save", holder);
  tools.replaceChildren(...["SVG", "Vega-Lite"].map((kind) => {
    const button = el("button", {type: "button", textContent: kind});
    button.setAttribute("aria-label", `Save ${name} as ${kind}`);
    button.addEventListener("click", async () => kind === "SVG" ? save(`${name}.svg`, await result.view.toSVG(), "image/svg+xml") : save(`${name}.vl.json`, JSON.stringify(DATA.figures[name]), "application/json"));
    return button;
  }));
}

const known = (name) => (DATA.figures[name]?.params ?? []).map((p) => p.name);
function redraw() {
  for (const [name, view] of views) {
    for (const key of SHARED) if (known(name).includes(key)) view.signal(key, state[key]);
    view.runAsync();
  }
}

const watcher = new IntersectionObserver((seen) => seen.forEach((item) => {
  if (item.isIntersecting) { watcher.unobserve(item.target); draw(item.target); }
}), {rootMargin: "300px"});

let waiting;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => $$(".chart.live").forEach((node) => { if (Math.abs(node.dataset.width - node.closest("figure").clientWidth) > 8) draw(node); }), 200); });

// -- wiring ---------------------------------------------------------------------------------------------------------
function drawAnswer() {
  const html = DATA.answers[[state.protocol, state.backbone, state.attack, state.eps].join(SEP)];
  $(".answer").innerHTML = html ?? "<p class='lead'>There is no result for this choice.</p>"; // escaped when it was made
}
$(".bar").addEventListener("change", (event) => { state[event.target.name] = event.target.value; drawAnswer(); drawTable(); redraw(); });
$(".bar").addEventListener("submit", (event) => event.preventDefault());
$(".tools").addEventListener("change", (event) => {
  if (event.target.name === "view") { state.view = event.target.value; drawTable(); }
  else $$(".grid").forEach((node) => node.classList.toggle("intervals", event.target.checked));
});
$(".downloads").addEventListener("click", (event) => {
  const kind = event.target.dataset.save;
  if (kind) save(`zsr-${state.protocol}-${state.backbone}.${kind === "all" ? "all.csv" : kind}`.replace(/[^\w.-]+/g, "_"), MAKERS[kind](), "text/plain;charset=utf-8");
});
$$(".grid").forEach((box) => {
  const cellOf = (event) => event.target.closest("tbody td");
  $("thead", box).addEventListener("click", (event) => { const button = event.target.closest("button"); if (button) sortBy(Number(button.dataset.column)); });
  box.addEventListener("pointerover", (event) => { const td = cellOf(event); if (td) showTip(td); else hideTip(); });
  box.addEventListener("pointerleave", hideTip);
  box.addEventListener("focusin", (event) => { const td = cellOf(event); if (td) showTip(td); });
  box.addEventListener("focusout", hideTip);
  box.addEventListener("click", (event) => { const td = cellOf(event); if (td) openProof(td); });
  box.addEventListener("keydown", (event) => {
    const td = cellOf(event);
    if (!td) return;
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); openProof(td); }
    else if (event.key === "Escape") hideTip();
    else if (/^(Arrow|Home|End)/.test(event.key)) { event.preventDefault(); move(td, event.key); }
  });
});
$$("details[data-list]").forEach((details) => details.addEventListener("toggle", () => { if (details.open) fillList(details); }));
drawTable();
$$(".chart").forEach((node) => watcher.observe(node));
window.zsr = {state, makers: MAKERS, views, draw, lists: LISTS}; // for the console, and for tests
