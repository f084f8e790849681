// Findings as they come. Every page is whole without this script: it adds a line to a live region, nothing more.
(() => {
  const region = document.querySelector("[data-live]");
  if (!region || !window.EventSource) return;
  const shown = Number(region.dataset.shown) || 20;
  const source = new EventSource(region.dataset.live);
  source.addEventListener("finding", (event) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    const finding = JSON.parse(event.data);
    link.href = finding.href;
    link.textContent = finding.text;
    item.append(link);
    region.prepend(item);
    while (region.children.length > shown) region.lastElementChild.remove();
    region.hidden = false;
  });
  window.addEventListener("pagehide", () => source.close());
})();
