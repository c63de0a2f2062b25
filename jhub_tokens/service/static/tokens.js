// Keeps the numbers moving between two answers of the service; every page works without it.
"use strict";

const GRAINS_PER_TOKEN = 3.6e9;
const ASK_EVERY_MS = 20000;

function tokensText(grains) {
  const text = (Math.max(0, grains) / GRAINS_PER_TOKEN).toFixed(2);
  const [whole, fraction] = text.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  const tail = fraction.replace(/0+$/, "");
  return tail ? `${grouped}.${tail}` : grouped;
}

function leftText(ms) {
  if (ms <= 0) return "now";
  const seconds = Math.ceil(ms / 1000);
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor((seconds % 86400) / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  if (days) return `in ${days} d ${hours} h`;
  if (hours) return `in ${hours} h ${minutes} min`;
  if (minutes) return `in ${minutes} min ${seconds % 60} s`;
  return `in ${seconds} s`;
}

// Balance and costs run on by the page's own monotonic clock, from the service's instant.
function live(root) {
  const loaded = performance.now();
  const balance = Number(root.dataset.balance);
  const burn = Number(root.dataset.burn); // millitokens per hour are grains per millisecond
  const asOf = Number(root.dataset.asOf);
  const shown = root.querySelector("[data-live-balance]");
  const used = root.querySelector("[data-live-used]");
  const costs = [...document.querySelectorAll("[data-live-cost]")];
  const grants = [...document.querySelectorAll("[data-live-grant]")]; // in the order of burning
  const countdowns = [...document.querySelectorAll("[data-countdown]")];

  const tick = () => {
    const elapsed = performance.now() - loaded;
    const spent = Math.min(burn * elapsed, Math.max(0, balance));
    shown.textContent = tokensText(balance - spent);
    if (used) used.textContent = tokensText(Number(used.dataset.grains) + spent);
    for (const cost of costs) {
      cost.textContent = tokensText(
        Number(cost.dataset.grains) + Number(cost.dataset.rate) * elapsed,
      );
    }
    let left = spent;
    for (const grant of grants) {
      const part = Math.min(left, Number(grant.dataset.grains));
      grant.textContent = tokensText(Number(grant.dataset.grains) - part);
      left -= part;
    }
    for (const countdown of countdowns) {
      countdown.textContent = leftText(Number(countdown.dataset.countdown) - asOf - elapsed);
    }
  };
  if (burn || countdowns.length) setInterval(tick, 1000);
  if (root.dataset.own === "yes") setInterval(() => ask(root), ASK_EVERY_MS);
}

// Reload when something happened that the page does not show: a start, a stop, a notice.
async function ask(root) {
  if (document.hidden) return;
  try {
    const answer = await fetch(`${document.body.dataset.baseUrl}api/v1/members/me`, {
      headers: { "X-XSRFToken": document.body.dataset.xsrf },
    });
    if (!answer.ok) return;
    const standing = await answer.json();
    const ids = (list, key) => list.map((item) => item[key]).sort().join(" ");
    const same =
      ids(standing.sessions, "session_id") === root.dataset.sessions &&
      ids(standing.notices, "notice_id") === root.dataset.notices &&
      standing.state === root.dataset.state &&
      String(standing.burn_mtok_h) === root.dataset.burn;
    if (!same) location.reload();
  } catch {
    // The service is away for a moment; the next question may be answered.
  }
}

document.querySelectorAll("[data-live]").forEach(live);

document.querySelectorAll("form[data-submit-on-change]").forEach((form) => {
  form.addEventListener("change", () => form.requestSubmit());
});

// A second click while the first is under way does nothing; the form's key guards the books.
document.querySelectorAll("form[data-once]").forEach((form) => {
  form.addEventListener("submit", () => {
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
