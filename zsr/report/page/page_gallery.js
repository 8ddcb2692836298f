// -- gallery: examples drawn by seed, filtered by set, model and fate ---------------------------------------------------
const FIRST = 12; // cards shown before "more" is pressed
let cards = FIRST;
const FATES = {fell: "fell", stood: "stood", wrong: "wrong before the attack"};

function galleryHits() {
  const chosen = Object.fromEntries($$(".filters select").map((s) => [s.name, s.value]));
  return DATA.gallery.entries.filter((e) => e.protocol === state.protocol && e.backbone === state.backbone
    && (!chosen.set || e.dataset === chosen.set) && (!chosen.model || e.model === chosen.model) && (!chosen.fate || e.fate === chosen.fate));
}

function shot(entry, what, picture, alt, shade) {
  const box = el("span", {className: "picture"}, el("img", {src: DATA.gallery.pictures[picture], alt, loading: "lazy"}));
  if (shade != null) box.append(el("img", {src: DATA.gallery.pictures[shade], alt: "", className: "shade"}));
  return el("div", {className: "shot"}, box, el("small", {textContent: what}));
}

function ranking(entry) {
  const cell = ([name, p]) => {
    const td = el("td", {className: name === entry.label ? "true" : ""}, el("span", {className: "p", textContent: p < 0.0005 ? "< 0.001" : p.toFixed(3)}), el("span", {className: "name", textContent: name}));
    td.style.setProperty("--p", p);
    if (name === entry.label) td.append(el("span", {className: "vh", textContent: " (true class)"}));
    return td;
  };
  const sides = entry.after ? ["before", "after"] : ["before"];
  const rows = entry.before.map((_, i) => el("tr", {}, ...sides.map((side) => cell(entry[side][i]))));
  return el("table", {className: "ranking"}, el("caption", {className: "vh", textContent: "Most probable classes"}),
    el("thead", {}, el("tr", {}, ...sides.map((x) => el("th", {scope: "col", textContent: x})))), el("tbody", {}, ...rows));
}

function card(e) {
  const shots = [shot(e, "image", e.image, `Image ${e.index} of ${e.dataset}: ${e.label}`)];
  if (e.adversarial != null) shots.push(shot(e, `perturbation × ${e.times}`, e.perturbation, "Perturbation; grey is no change"), shot(e, "adversarial", e.adversarial, "Adversarial image"));
  e.attention.forEach((shade, i) => shots.push(shot(e, i ? "attention after" : "attention before", i ? e.adversarial : e.image, `${i ? "Adversarial image" : "Image"}, dark where the class token does not look`, shade)));
  const words = el("figcaption", {}, el("b", {className: e.fate, textContent: e.words}), ` · ${e.model} · ${e.dataset}, image ${e.index}: ${e.label} · ${e.attack}, ε = ${e.eps}`);
  return el("figure", {className: "card"}, words, el("div", {className: "shots"}, ...shots), e.attention.length ? "" : el("p", {className: "none", textContent: "No attention map: this image tower has no class token."}), ranking(e));
}

function fillFilters() {
  const here = DATA.gallery.entries.filter((e) => e.protocol === state.protocol && e.backbone === state.backbone);
  for (const [name, key] of [["set", "dataset"], ["model", "model"], ["fate", "fate"]]) {
    const select = $(`.filters [name=${name}]`), before = select.value;
    const options = [...new Set(here.map((e) => e[key]))];
    select.replaceChildren(el("option", {value: "", textContent: "all"}), ...options.map((o) => el("option", {value: o, textContent: name === "fate" ? FATES[o] : o})));
    select.value = options.includes(before) ? before : "";
  }
}

function drawGallery() {
  if (!$(".filters")) return;
  const hits = galleryHits();
  $(".cards").replaceChildren(...hits.slice(0, cards).map(card));
  $(".filters output").textContent = `${Math.min(cards, hits.length)} of ${hits.length} shown`;
  $(".more").hidden = hits.length <= cards;
}
