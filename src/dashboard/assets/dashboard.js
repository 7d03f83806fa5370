// Keeps the page current: asks for it again and puts the new parts in the place of the old ones. Draws the chart.
"use strict";
(() => {
  const PERIOD = 2000;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clock = (time) => new Date(time * 1000).toTimeString().slice(0, 8);
  const bytes = (count) => {
    if (count == null) return "-";
    let unit = 0;
    for (; count >= 999.5 && unit < 4; count /= 1000) unit += 1;
    return `${+count.toFixed(count >= 99.95 ? 0 : 1)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
  };
  let chart = null;

  const draw = () => {
    const source = document.getElementById("series");
    const place = document.getElementById("chart");
    if (!source || !place || !window.uPlot) return;
    const rows = JSON.parse(source.textContent || "[]");
    const data = [rows.map((r) => r.time), rows.map((r) => r.down / 1000), rows.map((r) => r.up / 1000), rows.map((r) => r.queue_down_ms)];
    if (chart && chart.root.isConnected) return chart.setData(data);
    if (chart) chart.destroy();
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const line = (label, name, more) => ({ label, stroke: colour(name), width: 2, points: { show: false }, ...more });
    chart = new uPlot({
      width: place.clientWidth, height: 180, legend: { live: true },
      series: [{ label: "time", value: (_, time) => time == null ? "--" : clock(time) }, line("down, kbit/s", "--down"),
        line("up, kbit/s", "--up", { dash: [6, 3] }), line("waiting, ms", "--bad", { width: 1, scale: "ms", dash: [2, 3] })],
      scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] }, ms: { range: (_, low, high) => [0, Math.max(100, high * 1.1)] } },
      axes: [{ ...axis, space: 70, values: (_, times) => times.map(clock) }, axis, { ...axis, scale: "ms", side: 1, grid: { show: false } }],
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
    document.getElementById("since").textContent = fresh.getElementById("since").textContent;
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
      const rows = (told.responses || []).slice(0, 200).map((r) => `${r.status}  ${bytes(r.length).padStart(8)}  ${r.key}`);
      const all = told.totals ? told.totals.responses : rows.length;
      show(all ? [...rows, `${all} stored`].join("\n") : "Nothing is stored there.");
    },
    explain: async (url) => {
      const told = await ask("POST", "/v1/explain", { url });
      if (told.error) return show(told.error);
      const steps = (told.steps || []).map((s) => `${s.question} ${s.answer} (${s.because})`);
      show([told.decision, `${told.because} (${told.section})`, "", ...steps].join("\n"));
    },
    purge: async (url) => {
      if (!confirm(`Purge ${url}?`)) return;
      const told = await ask("POST", "/v1/cache/purge", { url });
      show(told.error || `Purged ${told.purged}, ${bytes(told.bytes)}.${told.spared ? ` ${told.spared} pinned ones stay.` : ""}`);
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
