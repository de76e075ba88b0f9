"use strict";
// The theme: the system's, or the reader's own choice, which is remembered where the browser allows it.
const root = document.documentElement;
const toggle = document.getElementById("theme");
const themes = ["system", "light", "dark"];
const stored = () => { try { return localStorage.getItem("edgeproof-theme"); } catch { return null; } };
function show(theme) {
  if (theme === "system") root.removeAttribute("data-theme");
  else root.setAttribute("data-theme", theme);
  toggle.textContent = "Theme: " + theme;
}
let theme = themes.includes(stored()) ? stored() : "system";
show(theme);
toggle.hidden = false;
toggle.addEventListener("click", () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  show(theme);
  try { localStorage.setItem("edgeproof-theme", theme); } catch { /* not remembered */ }
});

// A drawing as a file of its own: the page's colours, as they are now, are written into it.
function standalone(drawing) {
  const probe = document.createElement("span");
  document.body.append(probe);
  const colour = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const text = new XMLSerializer().serializeToString(drawing).replace(/var\((--[a-z0-9-]+)\)/g, (_, name) => colour(name));
  const paper = colour("--paper");
  probe.remove();
  return text.replace(/^<svg/, `<svg style="background:${paper};font-family:system-ui,sans-serif"`);
}
for (const button of document.querySelectorAll("button[data-drawing]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const drawing = document.querySelector(`#${CSS.escape(button.dataset.drawing)} svg`);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([standalone(drawing)], { type: "image/svg+xml" }));
    link.download = button.dataset.drawing.replace(/-plot$/, "") + ".svg";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
