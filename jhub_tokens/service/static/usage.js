// Usage as stacked bars; the table beside them says the same without it.
"use strict";

const place = document.getElementById("usage-chart");

function colours(series) {
  const style = getComputedStyle(document.body);
  const of = (name) => style.getPropertyValue(name).trim();
  return {
    text: of("--bs-secondary-color"),
    grid: of("--bs-border-color-translucent"),
    bars: series.map((one) => of(`--jt-colour-${one.colour}`)),
  };
}

function number(value) {
  return value >= 1e6 ? `${value / 1e6} M` : value.toLocaleString(document.documentElement.lang);
}

// Stacked: each series is drawn up to the sum of those below it, the highest first.
function stacked(series, length) {
  const sums = [];
  let below = new Array(length).fill(0);
  for (const one of series) {
    below = below.map((sum, place) => sum + Number(one.values[place]));
    sums.push(below);
  }
  return sums.reverse();
}

function draw(data) {
  const { labels, series } = data;
  const { text, grid, bars } = colours(series);
  const font = "12px system-ui, sans-serif";
  const reversed = [...series].reverse();
  const fills = [...bars].reverse();
  const axis = { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
  return new uPlot(
    {
      width: place.clientWidth,
      height: Math.max(200, Math.min(320, Math.round(place.clientWidth / 2.2))),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { time: false, range: [-0.6, labels.length - 0.4] }, y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.08 : 1] } },
      axes: [
        {
          ...axis,
          grid: { show: false },
          space: 72,
          incrs: [1, 2, 3, 5, 7, 10, 14, 30],
          values: (_u, splits) => splits.map((at) => labels[at] ?? ""),
        },
        { ...axis, size: 56, values: (_u, splits) => splits.map(number) },
      ],
      series: [
        {},
        ...reversed.map((one, index) => ({
          label: one.title,
          fill: fills[index],
          stroke: fills[index],
          width: 0,
          points: { show: false },
          paths: uPlot.paths.bars({ size: [0.8, 48], radius: 0.08 }),
        })),
      ],
      plugins: [tip(labels, series)],
    },
    [labels.map((_label, at) => at), ...stacked(series, labels.length)],
    place,
  );
}

// What lies under the pointer, in words.
function tip(labels, series) {
  const box = document.createElement("div");
  box.className = "jt-tip";
  box.hidden = true;
  return {
    hooks: {
      init: (chart) => chart.over.append(box),
      setCursor: (chart) => {
        const at = chart.cursor.idx;
        const lines = series.filter((one) => at != null && Number(one.values[at]) > 0);
        box.hidden = at == null || !lines.length;
        if (box.hidden) return;
        const words = lines.map((one) => `${one.title}: ${number(Number(one.values[at]))}`);
        box.replaceChildren(
          ...[labels[at], ...words].map((text) => {
            const line = document.createElement("div");
            line.textContent = text;
            return line;
          }),
        );
        const left = chart.valToPos(at, "x");
        const room = chart.over.clientWidth - box.offsetWidth;
        box.style.left = `${Math.max(0, Math.min(room, left + 8))}px`;
      },
    },
  };
}

if (place) {
  const data = JSON.parse(place.dataset.chart);
  let chart = null;
  let width = 0;
  const redraw = () => {
    chart?.destroy();
    chart = draw(data);
    width = place.clientWidth;
  };
  redraw();
  new ResizeObserver(() => {
    if (place.clientWidth && place.clientWidth !== width) redraw();
  }).observe(place);
  // Light and dark: the canvas has no style sheet of its own.
  new MutationObserver(redraw).observe(document.documentElement, {
    attributes: true,
    attributeFilter: ["data-bs-theme"],
  });
}
