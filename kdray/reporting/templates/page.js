(() => {
  const tip = document.getElementById("tip"), told = new Map();
  for (const title of document.querySelectorAll("svg title")) {
    told.set(title.parentNode, title.textContent);
    title.remove();
  }
  let shown = null;
  const show = (group) => {
    shown?.classList.remove("on");
    shown = group;
    tip.textContent = (group && told.get(group)) || "";
    if (!tip.textContent) return;
    group.classList.add("on");
    const at = (group.querySelector(".dot,.guide,.badge,.bar") || group).getBoundingClientRect();
    const box = tip.getBoundingClientRect(), right = at.right + 14;
    const left = right + box.width > innerWidth ? at.left - box.width - 14 : right;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.min(Math.max(4, at.top), Math.max(4, innerHeight - box.height - 4)) + "px";
  };
  const of = (chart) => [...chart.querySelectorAll(".h")];
  document.addEventListener("pointerover", (event) => show(event.target.closest?.(".chart .h")));
  document.addEventListener("scroll", () => show(null), { passive: true });
  document.addEventListener("focusin", (event) => {
    if (event.target.matches?.(".chart:focus-visible")) show(of(event.target)[0]);
  });
  document.addEventListener("focusout", () => show(null));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return show(null);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !event.target.matches?.(".chart")) return;
    const all = of(event.target);
    if (!all.length) return;
    event.preventDefault();
    show(all[(all.indexOf(shown) + step + all.length) % all.length]);
  });
  const open = () => {
    let part = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (const aim = part; part; part = part.parentElement?.closest("details")) {
      part.open = true;
      aim.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  open();
})();
