// Adds life to our parts of the hub's pages; without it they say the same of when they were made.
"use strict";

(() => {
  const language = document.documentElement.lang || "en";

  // A balance that burns counts down: one millitoken per hour is one grain per millisecond.
  for (const place of document.querySelectorAll("[data-burn-mtok-h]")) {
    const from = Number(place.dataset.grains);
    const burn = Number(place.dataset.burnMtokH);
    if (!burn) continue;
    const begun = performance.now();
    setInterval(() => {
      const left = Math.max(0, from - burn * (performance.now() - begun)) / 3.6e9;
      place.textContent = left.toLocaleString(language, { maximumFractionDigits: 2 });
    }, 1000);
  }

  // The demo's members: the link fills in the name, and with a script the password, too.
  for (const link of document.querySelectorAll(".jt-demo-member")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById("username_input").value = link.dataset.name;
      document.getElementById("password_input").value = link.closest("[data-password]").dataset.password;
      document.getElementById("login_submit").focus();
    });
  }

  // The hub's progress bar has no name of its own. Once it is red, nothing is starting any more.
  const bar = document.getElementById("progress-bar");
  const failed = document.getElementById("jt-failed");
  bar?.setAttribute("aria-labelledby", "jt-pending");
  if (bar && failed) {
    new MutationObserver(() => {
      if (!bar.classList.contains("bg-danger")) return;
      failed.hidden = false;
      document.getElementById("jt-starting").hidden = true;
      const stop = document.getElementById("stop-server-btn");
      if (stop) stop.hidden = true;
      bar.setAttribute("aria-labelledby", "jt-failed");
    }).observe(bar, { attributes: true, attributeFilter: ["class"] });
  }

  // A command can be copied where the browser allows it; the button appears only then.
  for (const button of document.querySelectorAll(".jt-copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = button.dataset.copied;
    });
  }
})();
