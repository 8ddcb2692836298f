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
const fixed = (x) => x == null ? "–" : (Math.floor(x * 10 + 0.5) / 10).toFixed(1); // as percent.py

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
  const count = column.kind === "mean" ? `mean over ${entry[COUNT]} sets: ${column.sets.join(", ")}` : `${entry[COUNT]} images`;
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
