// How an account looks. Everything is put in as text: nothing of it is markup.
import { need, risk, words } from "./accounts.js";

export const el = (tag, cls, ...inside) => {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  e.append(...inside.filter((x) => x !== undefined && x !== ""));
  return e;
};

function span(seconds) {
  const s = Math.abs(seconds);
  if (s < 90) return Math.round(s) + " s";
  if (s < 5400) return Math.round(s / 60) + " min";
  if (s < 172800) return (s / 3600).toFixed(1) + " h";
  return Math.round(s / 86400) + " days";
}

export function when(t) {
  if (!t) return "–";
  const s = (Date.parse(t) - Date.now()) / 1000;
  return s >= 0 ? "in " + span(s) : span(s) + " ago";
}

/** A sentence of the service: its commands, in backticks, can be selected with one click. */
const sentence = (text) => text.split("`").map((part, i) => (i % 2 ? el("code", "", part) : part));

/** The row of an account. busy: a refresh of it is under way. */
export function row(a, busy) {
  const tr = el("tr", "need" + need(a)), id = a.accountId;
  tr.dataset.account = id;
  tr.setAttribute("role", "row"); // on a phone it is laid out as a card, and would be no row any more
  const cell = (key, name, ...inside) => {
    const td = el("td", key, ...inside);
    td.setAttribute("role", "cell");
    if (name) td.dataset.name = name;
    tr.append(td);
  };
  const small = (text) => (text ? el("small", "", text) : undefined);
  cell("id", "", el("b", "", id), small([a.provider, a.type].filter(Boolean).join(" · ")), small(a.tenant && "tenant " + a.tenant));
  const idle = a.routable ? undefined : el("span", "idle", "does not serve");
  cell("state", "", el("span", "badge " + a.state, words(a.state)), idle, a.reason ? el("small", "why", ...sentence(a.reason)) : undefined);
  cell("ends", "Token ends", a.expiresAt ? when(a.expiresAt) : a.fingerprint ? "never" : "–", meter(a));
  cell("next", "Next renewal", when(a.nextRefreshAt));
  cell("pools", "Pools", a.pools.join(", "));
  const l = a.lastRefresh;
  cell("last", "Last refresh", l ? l.result + " " + when(l.at) : "–", small(l && (l.class || l.trigger)));
  cell("num", "Attempts", String(a.requests));
  cell("num", "Moved", String(a.failovers));
  const button = (act, text, label, off) => {
    const b = el("button", act, text);
    b.dataset.act = act;
    b.disabled = off;
    b.setAttribute("aria-disabled", busy); // disabled would lose the focus
    b.setAttribute("aria-label", label);
    return b;
  };
  cell("acts", "", button("refresh", busy ? "Refreshing…" : "Refresh", "Refresh " + id, a.state === "paused"),
    button("force", "Force refresh…", "Force refresh of " + id, risk(a) === null));
  return tr;
}

function meter(a) {
  if (!a.expiresAt || !a.lastRefresh || a.lastRefresh.result !== "succeeded") return undefined;
  const m = el("meter"), life = Date.parse(a.expiresAt) - Date.parse(a.lastRefresh.at);
  m.max = 1; m.low = .25; m.optimum = 1;
  m.value = Math.max(0, (Date.parse(a.expiresAt) - Date.now()) / life).toFixed(2);
  m.setAttribute("aria-hidden", "true");
  return m;
}

/** Makes the table's body show these rows. What has not changed stays: the focus is there, or a command is being selected. */
export function update(body, rows) {
  const focus = document.activeElement, old = new Map([...body.rows].map((tr) => [tr.dataset.account, tr]));
  const account = focus && focus.closest("tr") && focus.closest("tr").dataset.account, act = focus && focus.dataset.act;
  rows.forEach((next, i) => {
    let tr = old.get(next.dataset.account);
    old.delete(next.dataset.account);
    if (!tr) tr = next;
    else if (!tr.isEqualNode(next)) {
      tr.className = next.className;
      [...next.cells].forEach((td, c) => { if (!tr.cells[c].isEqualNode(td)) tr.cells[c].replaceWith(td); });
    }
    if (body.rows[i] !== tr) body.insertBefore(tr, body.rows[i] || null);
  });
  for (const tr of old.values()) tr.remove();
  if (!account || focus.isConnected && document.activeElement === focus) return;
  const again = body.querySelector(`tr[data-account="${CSS.escape(account)}"] button[data-act="${act}"]`);
  if (again) again.focus();
}
