"use strict";
(function () {
  const curves = JSON.parse(document.getElementById("curves").textContent);
  const hidden = new Set();
  const minutes = (value) => new Date(value * 60000).toISOString().slice(0, 16).replace("T", " ");
  const money = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

  function applyHidden() {
    document.querySelectorAll("[data-curve]").forEach((line) => {
      line.classList.toggle("off", hidden.has(line.dataset.curve));
    });
    document.querySelectorAll(".legend button").forEach((button) => {
      button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.engine)));
    });
  }

  document.querySelectorAll(".legend button").forEach((button) => {
    const engine = button.dataset.engine;
    button.addEventListener("click", () => {
      if (!hidden.delete(engine)) hidden.add(engine);
      applyHidden();
    });
    button.addEventListener("dblclick", () => {
      hidden.clear();
      document.querySelectorAll(".legend button").forEach((other) => {
        if (other !== button) hidden.add(other.dataset.engine);
      });
      applyHidden();
    });
  });
  const all = document.getElementById("show-all");
  if (all) all.addEventListener("click", () => { hidden.clear(); applyHidden(); });

  // The last value at or before an instant.
  function valueAt(line, at) {
    let low = 0, high = line.t.length - 1;
    if (high < 0 || line.t[0] > at) return null;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (line.t[middle] <= at) low = middle; else high = middle - 1;
    }
    return line.v[low];
  }

  document.querySelectorAll(".chart").forEach((chart) => {
    const data = curves[chart.dataset.chart];
    const svg = chart.querySelector("svg");
    const cursor = chart.querySelector(".cursor");
    const tip = chart.querySelector(".tip");
    const left = Number(svg.dataset.left), right = Number(svg.dataset.right);
    const opening = Number(chart.dataset.opening);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
      if (x < left || x > right) return leave();
      const at = (x - left) / (right - left) * data.span;
      const found = data.lines
        .filter((line) => !hidden.has(line.name))
        .map((line) => [line.name, valueAt(line, at)])
        .filter((pair) => pair[1] !== null)
        .sort((a, b) => b[1] - a[1]);
      tip.replaceChildren();
      const head = document.createElement("b");
      head.textContent = minutes(data.start + at) + " UTC";
      tip.append(head);
      for (const [name, value] of found) {
        const row = document.createElement("div");
        const label = document.createElement("span");
        const dot = document.createElement("i");
        const source = chart.querySelector('[data-curve="' + CSS.escape(name) + '"]');
        dot.className = "dot " + source.dataset.look;
        label.append(dot, name);
        const shown = document.createElement("span");
        shown.textContent = chart.dataset.chart === "equity"
          ? money.format(value) + "  " + ((value / opening - 1) * 100).toFixed(2) + "%"
          : (value * 100).toFixed(2) + "%";
        row.append(label, shown);
        tip.append(row);
      }
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.style.visibility = tip.style.visibility = "visible";
      const inside = event.clientX - box.left;
      tip.style.left = (inside > box.width / 2 ? inside - tip.offsetWidth - 14 : inside + 14) + "px";
    });
    function leave() { cursor.style.visibility = tip.style.visibility = "hidden"; }
    svg.addEventListener("pointerleave", leave);
  });

  // Filters: a row is shown when every filter of its table is empty or equal.
  document.querySelectorAll(".filters").forEach((box) => {
    const rows = document.querySelectorAll("#" + box.dataset.table + " tbody tr");
    const filters = box.querySelectorAll("select");
    const count = box.querySelector("output");
    function apply() {
      let shown = 0;
      rows.forEach((row) => {
        const keep = [...filters].every((one) => !one.value || row.dataset[one.name] === one.value);
        row.classList.toggle("off", !keep);
        shown += keep;
      });
      count.textContent = shown + " of " + rows.length;
    }
    filters.forEach((one) => one.addEventListener("change", apply));
    apply();
  });
})();
