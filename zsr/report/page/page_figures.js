// -- figures: the static picture becomes interactive when it comes into view ----------------------------------------
const views = new Map();
const SHARED = ["protocol", "backbone", "attack", "eps"];

const measured = (spec) => spec.facet || spec.height?.step; // their axes take room that only a first try tells
function fitted(spec, width, less = 0) { // `less`: pixels by which each panel of a first try was too wide
  spec = structuredClone(spec);
  spec.params = (spec.params ?? []).map((p) => SHARED.includes(p.name) ? {name: p.name, value: state[p.name]} : p);
  spec.config.legend.columns = Math.max(1, Math.floor(width / 130));
  if (spec.facet) { // as many panels side by side as fit
    const own = spec.resolve?.scale?.y === "independent" ? 48 : 0, gap = 20, edge = 58;
    const inner = spec.spec, wanted = inner.width + own;
    const columns = Math.max(1, Math.min(spec.columns, Math.round((width - edge) / (wanted + gap))));
    spec.columns = columns;
    spec.config.header.labelLimit = Math.floor(width / columns) - 24;
    inner.width = Math.max(120, Math.floor((width - edge - (columns - 1) * gap) / columns) - own - less);
  } else if (spec.height?.step) {
    spec.width = Math.max(width - less, spec.usermeta.least); // a heat map of many sets scrolls instead of shrinking
  } else if (spec.width) {
    spec.width = width;
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
  if (measured(spec) && over > 0) { // axes took more room than guessed
    const columns = fitted(spec, width).columns ?? 1;
    result.finalize();
    result = await embed(Math.ceil(over / columns) + 12); // names that lean out move with the columns
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
