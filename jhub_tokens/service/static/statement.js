// The statement on paper, and the line that a link leads to; the page works without it.
"use strict";

document.querySelectorAll("[data-print]").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
});

// On paper nobody can open anything: all parts of all lines are shown, then closed again.
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("[data-open-to-print]:not([open])")];
  for (const details of opened) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
  opened = [];
});

function openTarget() {
  const line = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = line?.querySelector("details");
  if (details) details.open = true;
}
window.addEventListener("hashchange", openTarget);
openTarget();

document.querySelector(".jt-ask .is-invalid")?.focus();
