// Keeps the page current: asks for it again and puts the new parts in the place of the old ones. Draws the chart.
"use strict";
(() => {
  const PERIOD = 2000;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let chart = null;

  const draw = () => {
    const source = document.getElementById("series");
    const place = document.getElementById("chart");
    if (!source || !place || !window.uPlot) return;
    const rows = JSON.parse(source.textContent || "[]");
    const data = [rows.map((r) => r.time), rows.map((r) => r.down / 1000), rows.map((r) => r.up / 1000), rows.map((r) => r.queue_down_ms)];
    if (chart && chart.root.isConnected) return chart.setData(data);
    if (chart) chart.destroy();
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line") }, ticks: { stroke: colour("--line") } };
    chart = new uPlot({
      width: place.clientWidth, height: 180, legend: { live: true },
      series: [{}, { label: "down, kbit/s", stroke: colour("--down"), width: 2 },
        { label: "up, kbit/s", stroke: colour("--up"), width: 2, dash: [6, 3] },
        { label: "waiting, ms", stroke: colour("--bad"), scale: "ms", dash: [2, 3] }],
      scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] }, ms: { range: (_, low, high) => [0, Math.max(100, high * 1.1)] } },
      axes: [axis, axis, { ...axis, scale: "ms", side: 1, grid: { show: false } }],
    }, data, place);
  };

  const replace = (fresh) => {
    const focused = document.activeElement && document.activeElement.dataset.stop;
    for (const section of fresh.querySelectorAll("#live > section")) {
      const old = document.getElementById(section.id);
      const kept = section.id === "link" && chart ? chart.root : null;
      if (!old) continue;
      old.replaceWith(section);
      if (kept) document.getElementById("chart").replaceChildren(kept);
    }
    document.title = fresh.title;
    const again = focused && document.querySelector(`[data-stop="${focused}"]`);
    if (again) again.focus();
    draw();
  };

  const refresh = async () => {
    if (!document.hidden) {
      try {
        const page = await fetch(location.href, { cache: "no-store" });
        if (page.ok) replace(new DOMParser().parseFromString(await page.text(), "text/html"));
      } catch {
        const lamp = document.querySelector(".lamp");
        if (lamp) { lamp.className = "lamp down"; lamp.textContent = "The proxy does not answer."; }
      }
    }
    setTimeout(refresh, PERIOD);
  };

  // Whoever changes something says the token once a session, if one is wanted.
  const ask = async (method, path, content) => {
    const fields = { "content-type": "application/json" };
    const token = sessionStorage.getItem("token");
    if (token) fields.authorization = `Bearer ${token}`;
    const response = await fetch(path, { method, headers: fields, body: content && JSON.stringify(content) });
    if (response.status === 401) {
      const given = prompt("The token of this proxy (admin.token)");
      if (!given) return { error: "a token is wanted" };
      sessionStorage.setItem("token", given);
      return ask(method, path, content);
    }
    return response.json();
  };

  const show = (text) => {
    const found = document.getElementById("found");
    found.hidden = false;
    found.textContent = text;
  };

  const actions = {
    list: async (url) => {
      const told = await ask("POST", "/v1/cache/list", { selection: { url: url.endsWith("*") ? url : `${url}*` } });
      if (told.error) return show(told.error);
      const rows = told.responses || [];
      show(rows.length ? rows.slice(0, 200).map((r) => `${r.key}  ${r.status ?? ""}  ${r.bytes ?? r.length ?? ""}`).join("\n") : "Nothing is stored there.");
    },
    explain: async (url) => {
      const told = await ask("POST", "/v1/explain", { url });
      show(told.error || told.summary || JSON.stringify(told, null, 1));
    },
    purge: async (url) => {
      if (!confirm(`Purge ${url}?`)) return;
      const told = await ask("POST", "/v1/cache/purge", { url });
      show(told.error || JSON.stringify(told));
    },
  };

  document.addEventListener("click", async (event) => {
    const number = event.target.dataset && event.target.dataset.stop;
    if (number) await ask("POST", "/v1/exchanges/stop", { numbers: [Number(number)] });
  });
  const form = document.getElementById("search");
  if (form) form.addEventListener("submit", (event) => {
    event.preventDefault();
    const url = form.url.value.trim();
    if (url) actions[event.submitter ? event.submitter.value : "list"](url).catch((error) => show(String(error)));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (chart) { chart.destroy(); chart = null; } draw(); });
  addEventListener("resize", () => { if (chart) chart.setSize({ width: document.getElementById("chart").clientWidth, height: 180 }); });
  draw();
  setTimeout(refresh, PERIOD);
})();
