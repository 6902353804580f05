// What the page knows of accounts: how urgent they are, how they are filtered and ordered. No document, no network.

/** Smaller wants a human more; as `tokenward status --problems` has it. */
export function need(a) {
  if (["needs_reauth", "config_error", "identity_mismatch"].includes(a.state)) return 1;
  if (a.state === "paused") return a.reason.startsWith("its latest version is deleted") ? 2 : 3;
  if (!a.refreshable && a.expiresAt) return 1; // its token ends, and nothing renews it
  if (a.lastRefresh && a.lastRefresh.result === "failed" && a.lastRefresh.class === "misconfigured") return 1;
  return a.state !== "active" || a.reason ? 2 : 3;
}

/** The pools of which no account can serve, although not all of them are paused. */
export function idlePools(accounts) {
  const able = new Map();
  for (const a of accounts) for (const p of a.pools) {
    const was = able.get(p) || { serves: false, paused: true };
    able.set(p, { serves: was.serves || a.routable, paused: was.paused && a.state === "paused" });
  }
  return [...able].filter(([, s]) => !s.serves && !s.paused).map(([p]) => p).sort();
}

export const words = (state) => state.replace("_", " ");

/** Every state that there is, those first that need a human; then those of a newer service. */
export const states = (accounts) => [...new Set(["needs_reauth", "config_error", "identity_mismatch", "expired", "ambiguous", "cooling", "expiring", "paused", "active", ...accounts.map((a) => a.state)])];

/** The columns; by is what a column is ordered by, down: the largest first. */
export const columns = [
  { key: "id", name: "Account", by: (a) => a.accountId },
  { key: "state", name: "State", by: need },
  { key: "ends", name: "Token ends", by: (a) => moment(a.expiresAt) },
  { key: "next", name: "Next renewal", by: (a) => moment(a.nextRefreshAt) },
  { key: "pools", name: "Pools", by: (a) => a.pools.join(", ") },
  { key: "last", name: "Last refresh", by: (a) => (a.lastRefresh ? -Date.parse(a.lastRefresh.at) : Infinity) },
  { key: "requests", name: "Attempts", by: (a) => -a.requests, down: true },
  { key: "failovers", name: "Moved", by: (a) => -a.failovers, down: true },
];

const moment = (t) => (t ? Date.parse(t) : Infinity);
const compare = (x, y) => (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x === y ? 0 : x < y ? -1 : 1);

/** The accounts that a view shows, in its order. A view is { text, state, key, back }. */
export function select(accounts, view) {
  const wanted = view.text.toLowerCase().split(/\s+/).filter(Boolean);
  const told = (a) => [a.accountId, a.provider, a.type, a.tenant, a.state, words(a.state), a.reason, ...a.pools, ...Object.entries(a.labels || {}).map((l) => l.join("="))].join(" ").toLowerCase();
  const fits = (a) => !view.state || (view.state === "problems" ? need(a) < 3 : a.state === view.state);
  const { by } = columns.find((c) => c.key === view.key), id = columns[0].by;
  return accounts.filter((a) => fits(a) && wanted.every((w) => told(a).includes(w)))
    .sort((a, b) => (view.back ? -1 : 1) * compare(by(a), by(b)) || compare(id(a), id(b)));
}

/** What a forced refresh may cost this account; null where it makes no sense. */
export function risk(a) {
  const id = a.accountId, lives = a.expiresAt && Date.parse(a.expiresAt) > Date.now(), end = (a.expiresAt || "").replace(/\.\d+/, "");
  if (a.state === "paused" || a.state === "config_error" || (!a.refreshable && a.state !== "needs_reauth")) return null;
  if (a.state === "ambiguous") return `The last refresh of ${id} ended without a readable answer, so its refresh token may be spent. A provider may take a second use for theft and revoke the account` +
    (lives ? `, with the token that serves until ${end}. Left alone, it is tried once more just before that.` : ".");
  if (a.state === "needs_reauth") return `The provider has refused the credential of ${id} for good. Forcing presents it once more; a new login is what helps.`;
  if (lives) return `The token of ${id} lives until ${end}. Forcing throws it away and spends the refresh token: if the answer is lost on the way, the account needs a new login.`;
  return `${id} has no living token: an ordinary refresh does the same, and waits when waiting is safer.`;
}
