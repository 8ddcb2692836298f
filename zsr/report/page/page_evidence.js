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
    && (column.kind === "mean" ? column.sets.includes(c.dataset.name) : c.dataset.name === column.name) && c.eps === state.eps
    && (state.attack.startsWith("worst case") || (c.attack.label ?? c.attack.name) === state.attack));
  $("#proof-title").textContent = describe(td).split("\n")[0];
  const parts = known.map((c) => el("details", {open: known.length === 1}, el("summary", {}, `${c.dataset.name}, ${c.attack.label ?? c.attack.name}, ε = ${c.eps}, seed ${c.model.seed ?? "–"}: ${c.robust_correct} of ${c.n} stand, ${c.clean_correct} clean`), proofTable(c)));
  $("#proof > div").replaceChildren(el("p", {textContent: describe(td).split("\n").slice(1).join(" · ")}), ...(known.length ? parts : [el("p", {textContent: "No cell was measured here."})]));
  hideTip();
  $("#proof").showModal();
}

function fillList(details) {
  if ($("table, .scroll", details)) return;
  const kind = details.dataset.list, records = LISTS[kind]();
  const head = kind === "models" ? ["id", "seconds", "spec"] : ["model", "set", "attack", "ε", "stand", "seconds", "spec", "digest"];
  const brief = (c) => kind === "models" ? [c.id, c.seconds?.toFixed?.(1) ?? "–", (c.spec_hash ?? "").slice(0, 12)]
    : [c.model.id, c.dataset.name, c.attack.label ?? c.attack.name, c.eps, `${c.robust_correct}/${c.n}`, c.seconds.toFixed(1), c.spec_hash.slice(0, 12), (c.digest ?? c.digests?.rows ?? "").slice(0, 12)];
  const body = el("tbody");
  records.forEach((c) => {
    const button = el("button", {type: "button", textContent: "all"});
    button.addEventListener("click", () => { $("#proof-title").textContent = brief(c).slice(0, 4).join(" · "); $("#proof > div").replaceChildren(proofTable(c)); $("#proof").showModal(); });
    body.append(el("tr", {}, ...brief(c).map((x) => el("td", {textContent: x})), el("td", {}, button)));
  });
  details.append(el("div", {className: "scroll"}, el("table", {className: "plain"}, el("thead", {}, el("tr", {}, ...head.map((x) => el("th", {scope: "col", textContent: x})), el("th", {scope: "col"}, el("span", {className: "vh", textContent: "details"})))), body)));
}
