// Keeps the numbers moving between two answers of the service; every page works without it.
"use strict";

const GRAINS_PER_TOKEN = 3.6e9;

function tokensText(grains) {
  const text = (Math.max(0, grains) / GRAINS_PER_TOKEN).toFixed(2);
  const [whole, fraction] = text.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  const tail = fraction.replace(/0+$/, "");
  return tail ? `${grouped}.${tail}` : grouped;
}

function leftText(ms, root) {
  const { units = "d h min s", now = "now", in: template = "in {time}" } = root.dataset;
  if (ms <= 0) return now;
  const names = units.split(" ");
  const seconds = Math.ceil(ms / 1000);
  const counts = [
    Math.floor(seconds / 86400),
    Math.floor((seconds % 86400) / 3600),
    Math.floor((seconds % 3600) / 60),
    seconds % 60,
  ];
  const first = counts.findIndex((count) => count > 0);
  const parts = counts.map((count, place) => `${count} ${names[place]}`);
  return template.replace("{time}", parts.slice(first, first + 2).join(" "));
}

// Balance and costs run on by the page's own monotonic clock, from the service's instant.
const begun = new WeakMap(); // when each part of the page that counts was put there

function count() {
  for (const root of document.querySelectorAll("[data-live]")) {
    if (!begun.has(root)) begun.set(root, performance.now());
    const elapsed = performance.now() - begun.get(root);
    const balance = Number(root.dataset.balance);
    const burn = Number(root.dataset.burn); // millitokens per hour are grains per millisecond
    const spent = Math.min(burn * elapsed, Math.max(0, balance));
    const write = (name, text) => {
      for (const shown of root.querySelectorAll(`[data-live-${name}]`)) {
        shown.textContent = text(Number(shown.dataset.grains), Number(shown.dataset.rate));
      }
    };
    write("balance", () => tokensText(balance - spent));
    write("used", (grains) => tokensText(grains + spent));
    let left = spent; // grants are shown in the order of burning
    write("grant", (grains) => {
      const part = Math.min(left, grains);
      left -= part;
      return tokensText(grains - part);
    });
    for (const cost of document.querySelectorAll("[data-live-cost]")) {
      const { grains, rate } = cost.dataset;
      cost.textContent = tokensText(Number(grains) + Number(rate) * elapsed);
    }
    for (const countdown of root.querySelectorAll("[data-countdown]")) {
      const at = Number(countdown.dataset.countdown);
      countdown.textContent = leftText(at - Number(root.dataset.asOf) - elapsed, root);
    }
  }
}

if (document.querySelector("[data-live]")) {
  count();
  setInterval(count, 1000);
  document.addEventListener("jt:replaced", count);
}

// Where a choice is sent by itself, nobody needs the button for it.
document.querySelectorAll("[data-without-script]").forEach((button) => {
  button.hidden = true;
});

document.querySelectorAll("form[data-submit-on-change]").forEach((form) => {
  form.addEventListener("change", () => form.requestSubmit());
});

// A second click while the first is under way does nothing; the form's key guards the books.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-once]")) return;
  // Afterwards: a button that is disabled by then would not be sent along.
  setTimeout(() => {
    form.querySelectorAll("button[type=submit]").forEach((button) => {
      button.disabled = true;
    });
  });
});
window.addEventListener("pageshow", () => {
  document.querySelectorAll("form[data-once] button[type=submit]").forEach((button) => {
    button.disabled = false;
  });
});
