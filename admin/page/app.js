"use strict";
const $ = (id) => document.getElementById(id);
const el = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e; };
let accounts = [], busy = new Set();

function notice(text, bad) { $("notice").textContent = text; $("notice").className = bad ? "bad" : ""; }

async function call(method, path, body) {
  const r = await fetch(path, { method, headers: body ? { "Content-Type": "application/json" } : {}, body: body && JSON.stringify(body) });
  const data = r.status === 204 ? {} : await r.json();
  if (!r.ok) throw Object.assign(new Error(data.detail || r.statusText), { status: r.status });
  return data;
}

function signedIn(yes) { $("signin").hidden = yes; $("board").hidden = $("all").hidden = $("out").hidden = !yes; if (!yes) $("token").focus(); }

function span(seconds) {
  const s = Math.abs(seconds);
  if (s < 90) return Math.round(s) + " s";
  if (s < 5400) return Math.round(s / 60) + " min";
  if (s < 172800) return (s / 3600).toFixed(1) + " h";
  return Math.round(s / 86400) + " days";
}
function when(t) { if (!t) return "–"; const s = (Date.parse(t) - Date.now()) / 1000; return s >= 0 ? "in " + span(s) : span(s) + " ago"; }

function row(a) {
  const tr = el("tr"); tr.dataset.account = a.accountId;
  const cell = (cls, text, small) => { const td = el("td", cls, text); if (small) td.append(el("small", "", small)); tr.append(td); return td; };
  cell("id", a.accountId, a.tenant && "tenant " + a.tenant);
  cell("", a.provider, a.type);
  cell("", (a.pools || []).join(", "));
  const state = cell("", undefined); state.append(el("span", "badge " + a.state, a.state.replace("_", " "))); if (a.reason) state.append(el("small", "", a.reason));
  const ends = cell("ends", a.expiresAt ? when(a.expiresAt) : (a.generation ? "never" : "–"));
  if (a.expiresAt && a.lastRefresh && a.lastRefresh.result === "succeeded") {
    const m = el("meter"), life = Date.parse(a.expiresAt) - Date.parse(a.lastRefresh.at);
    m.max = 1; m.low = .25; m.optimum = 1; m.value = Math.max(0, (Date.parse(a.expiresAt) - Date.now()) / life); m.setAttribute("aria-hidden", "true"); ends.append(m);
  }
  cell("", when(a.nextRefreshAt));
  const l = a.lastRefresh;
  cell("", l ? l.result + " " + when(l.at) : "–", l && (l.class || l.trigger));
  cell("num", a.requests); cell("num", a.failovers);
  const b = el("button", "", busy.has(a.accountId) ? "Refreshing…" : "Refresh");
  b.disabled = a.state === "paused"; b.setAttribute("aria-disabled", busy.has(a.accountId)); // disabled would lose the focus
  b.setAttribute("aria-label", "Refresh " + a.accountId);
  b.onclick = () => { if (!busy.has(a.accountId)) refresh(a.accountId); }; cell("", undefined).append(b);
  return tr;
}

function draw() {
  const focused = document.activeElement && document.activeElement.closest("tr");
  const counts = {}; for (const a of accounts) counts[a.state] = (counts[a.state] || 0) + 1;
  const tile = (n, name, cls) => { const li = el("li"); li.append(el("b", cls, n), el("span", "", name)); return li; };
  $("tiles").replaceChildren(tile(accounts.length, "accounts", ""), ...Object.keys(counts).sort().map((s) => tile(counts[s], s.replace("_", " "), s)));
  $("rows").replaceChildren(...accounts.map(row));
  $("empty").hidden = accounts.length > 0; $("clock").textContent = new Date().toLocaleTimeString();
  if (focused) { const again = document.querySelector(`tr[data-account="${CSS.escape(focused.dataset.account)}"] button`); if (again) again.focus(); }
}

async function load() {
  try { accounts = (await call("GET", "/api/admin/oauth/refresh")).accounts; signedIn(true); draw(); if ($("notice").textContent.startsWith("The service")) notice(""); }
  catch (e) { if (e.status === 401) signedIn(false); else notice("The service does not answer; trying again.", true); }
}

async function refresh(id) {
  busy.add(id); draw();
  try { const r = await call("POST", "/api/admin/oauth/refresh", { action: "refresh-single", accountId: id, force: true }); notice(`${id}: ${r.result}, generation ${r.generationAfter}`); }
  catch (e) { notice(e.message, true); }
  busy.delete(id); load();
}

$("all").onclick = async () => {
  $("all").disabled = true;
  try { const r = await call("POST", "/api/admin/oauth/refresh", { action: "refresh-all", force: false }); notice(r.summary ? "All accounts: " + Object.entries(r.summary).filter(([k]) => k !== "total").map(([k, n]) => `${n} ${k}`).join(", ") : "The refresh goes on in the background."); }
  catch (e) { notice(e.message, true); }
  $("all").disabled = false; load();
};
$("out").onclick = async () => { await call("POST", "/logout"); accounts = []; draw(); signedIn(false); notice(""); };
$("signin").onsubmit = async (ev) => { ev.preventDefault(); await signIn($("token").value); };
async function signIn(token) { try { await call("POST", "/login", { token }); $("token").value = ""; notice(""); await load(); } catch (e) { signedIn(false); notice(e.message, true); } }

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) { history.replaceState(null, "", location.pathname); signIn(given); } else load();
setInterval(() => { if (!document.hidden && !$("board").hidden) load(); }, 2000);
