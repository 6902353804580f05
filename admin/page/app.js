import { columns, idlePools, need, risk, select, states, words } from "./accounts.js";
import { el, row, update } from "./rows.js";

const $ = (id) => document.getElementById(id);
const view = { text: "", state: "", key: "state", back: false };
const busy = new Set();
let accounts = [], asked = "";

function notice(text, bad) { $("notice").textContent = text; $("notice").className = bad ? "bad" : ""; }

async function call(method, path, body) {
  const r = await fetch(path, { method, headers: body ? { "Content-Type": "application/json" } : {}, body: body && JSON.stringify(body) });
  const data = r.status === 204 ? {} : await r.json();
  if (!r.ok) throw Object.assign(new Error(data.detail || r.statusText), { status: r.status });
  return data;
}

function signedIn(yes) { $("signin").hidden = yes; $("board").hidden = $("all").hidden = $("out").hidden = !yes; if (!yes) $("token").focus(); }

function draw() {
  const shown = select(accounts, view), pools = idlePools(accounts);
  update($("rows"), shown.map((a) => row(a, busy.has(a.accountId))));
  drawTiles();
  drawHeads();
  $("idle").textContent = pools.length ? "No account can serve in " + pools.join(", ") + "." : "";
  $("idle").hidden = !pools.length;
  $("shown").textContent = shown.length < accounts.length ? `${shown.length} of ${accounts.length} shown` : "";
  $("empty").hidden = accounts.length > 0;
  $("none").hidden = shown.length > 0 || !accounts.length;
  $("tools").hidden = document.querySelector("table").hidden = !accounts.length;
  $("clock").textContent = new Date().toLocaleTimeString();
}

/** Counts by state, which filter when they are pressed. */
function drawTiles() {
  const count = (state) => accounts.filter((a) => (state === "problems" ? need(a) < 3 : a.state === state)).length;
  const counts = ["problems", ...states(accounts)].map((state) => [state, count(state)]).filter(([state, n]) => n || state === view.state);
  const tiles = [["", accounts.length], ...counts].map(([state, n]) => {
    const b = el("button", "tile " + state, el("b", "", String(n)), el("span", "", state ? words(state) : n === 1 ? "account" : "accounts"));
    b.dataset.state = state;
    b.setAttribute("aria-pressed", view.state === state);
    return el("li", "", b);
  });
  const at = document.activeElement && document.activeElement.dataset.state;
  if (tiles.length === $("tiles").children.length && tiles.every((t, i) => t.isEqualNode($("tiles").children[i]))) return;
  $("tiles").replaceChildren(...tiles);
  if (at !== undefined) { const b = document.querySelector(`#tiles [data-state="${at}"]`); if (b) b.focus(); }
}

function drawHeads() {
  if (!$("heads").children.length) {
    for (const c of columns) {
      const th = el("th", c.down ? "num" : "", el("button", "sort", c.name));
      th.scope = "col";
      th.setAttribute("role", "columnheader");
      th.dataset.key = c.key;
      $("heads").append(th);
      $("order").append(new Option("Order: " + c.name.toLowerCase(), c.key));
    }
    const acts = el("th", "", el("span", "hide", "Actions"));
    acts.scope = "col";
    $("heads").append(acts);
  }
  for (const th of $("heads").querySelectorAll("[data-key]")) {
    const c = columns.find((x) => x.key === th.dataset.key), on = c.key === view.key;
    th.setAttribute("aria-sort", !on ? "none" : Boolean(c.down) !== view.back ? "descending" : "ascending");
  }
  $("order").value = view.key;
}

async function load() {
  try {
    accounts = (await call("GET", "/api/admin/oauth/refresh")).accounts;
    signedIn(true);
    draw();
    if ($("notice").textContent.startsWith("The service")) notice("");
  } catch (e) { if (e.status === 401) signedIn(false); else notice("The service does not answer; trying again.", true); }
}

async function refresh(id, force) {
  if (busy.has(id)) return;
  busy.add(id);
  draw();
  try {
    const r = await call("POST", "/api/admin/oauth/refresh", { action: "refresh-single", accountId: id, force });
    notice(`${id}: ${r.result}, ` + (r.error || "generation " + r.generationAfter));
  } catch (e) { notice(e.message, true); }
  busy.delete(id);
  load();
}

function askForce(id) {
  const a = accounts.find((x) => x.accountId === id);
  asked = id;
  $("force-title").textContent = `Force a refresh of ${id}?`;
  $("force-risk").textContent = risk(a);
  $("force-why").textContent = a.reason.replaceAll("`", "");
  $("force").showModal();
  $("force-no").focus();
}

$("rows").onclick = (ev) => {
  const b = ev.target.closest("button"), id = b && b.closest("tr").dataset.account;
  if (!b || busy.has(id)) return;
  if (b.dataset.act === "force") askForce(id); else refresh(id, false);
};
$("force-no").onclick = () => $("force").close();
$("force-yes").onclick = () => { $("force").close(); refresh(asked, true); };
$("all").onclick = async () => {
  $("all").disabled = true;
  try {
    const r = await call("POST", "/api/admin/oauth/refresh", { action: "refresh-all", force: false });
    notice(r.summary ? "All accounts: " + Object.entries(r.summary).filter(([k]) => k !== "total").map(([k, n]) => `${n} ${k}`).join(", ") : "The refresh goes on in the background.");
  } catch (e) { notice(e.message, true); }
  $("all").disabled = false;
  load();
};
$("tiles").onclick = (ev) => {
  const b = ev.target.closest("button");
  if (!b) return;
  view.state = view.state === b.dataset.state ? "" : b.dataset.state;
  draw();
};
$("heads").onclick = (ev) => {
  const th = ev.target.closest("th[data-key]");
  if (!th) return;
  view.back = view.key === th.dataset.key && !view.back;
  view.key = th.dataset.key;
  draw();
};
$("order").onchange = () => { view.key = $("order").value; view.back = false; draw(); };
$("filter").oninput = () => { view.text = $("filter").value; draw(); };
$("clear").onclick = () => { view.text = $("filter").value = view.state = ""; draw(); $("filter").focus(); };
$("out").onclick = async () => { await call("POST", "/logout"); accounts = []; draw(); signedIn(false); notice(""); };
$("signin").onsubmit = async (ev) => { ev.preventDefault(); await signIn($("token").value); };
async function signIn(token) { try { await call("POST", "/login", { token }); $("token").value = ""; notice(""); await load(); } catch (e) { signedIn(false); notice(e.message, true); } }

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) { history.replaceState(null, "", location.pathname); signIn(given); } else load();
setInterval(() => { if (!document.hidden && !$("board").hidden) load(); }, 2000);
