// -- wiring ---------------------------------------------------------------------------------------------------------
function drawAnswer() {
  const html = DATA.answers[[state.protocol, state.backbone, state.attack, state.eps].join(SEP)];
  $(".answer").innerHTML = html ?? "<p class='lead'>There is no result for this choice.</p>"; // escaped when it was made
}
$(".bar").addEventListener("change", (event) => { state[event.target.name] = event.target.value; drawAnswer(); drawTable(); redraw(); cards = FIRST; if ($(".filters")) fillFilters(); drawGallery(); });
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
addEventListener("scroll", () => { // the table itself scrolls too: hear it on the way down
  const td = $("[aria-describedby=tip]");
  if (td && td === document.activeElement) showTip(td); else hideTip();
}, {passive: true, capture: true});
$$("details[data-list]").forEach((details) => details.addEventListener("toggle", () => { if (details.open) fillList(details); }));
if ($(".filters")) {
  $(".filters").addEventListener("change", () => { cards = FIRST; drawGallery(); });
  $(".filters").addEventListener("submit", (event) => event.preventDefault());
  $(".more").addEventListener("click", () => { // focus goes to the first card that is new
    const first = cards;
    cards += FIRST;
    drawGallery();
    const node = $$(".card")[first];
    if (node) { node.tabIndex = -1; node.focus(); }
  });
  fillFilters();
  drawGallery();
}
drawTable();
$$(".chart").forEach((node) => watcher.observe(node));
window.zsr = {state, makers: MAKERS, views, draw, lists: LISTS}; // for the console, and for tests
