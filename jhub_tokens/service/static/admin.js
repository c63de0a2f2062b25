// Administrators' pages: choosing whole pages of a list, and asking before something is stopped.
"use strict";

document.querySelectorAll("form[data-choosing]").forEach((form) => {
  const boxes = [...form.querySelectorAll("input[name=member]")];
  const head = form.querySelector("thead .jt-tick");
  if (!boxes.length || !head) return;
  const all = document.createElement("input");
  all.type = "checkbox";
  all.className = "form-check-input";
  all.setAttribute("aria-label", head.textContent.trim());
  head.replaceChildren(all);
  const show = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    all.checked = chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  };
  all.addEventListener("change", () => {
    boxes.forEach((box) => {
      box.checked = all.checked;
    });
    show();
  });
  boxes.forEach((box) => box.addEventListener("change", show));
  window.addEventListener("pageshow", show);
});

document.querySelectorAll("form[data-confirm]").forEach((form) => {
  form.addEventListener(
    "submit",
    (event) => {
      if (!window.confirm(form.dataset.confirm)) {
        event.preventDefault();
        event.stopImmediatePropagation();
      }
    },
    true,
  );
});
