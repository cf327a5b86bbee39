// The status page. Clients choose much of what is shown: it becomes text nodes, never markup.

import { chart } from "/chart.js";

const PERIOD = 5000; // ms
const PATIENCE = 8000;
const DAY = 86400;
const at = (id) => document.getElementById(id);

// -- asking ---------------------------------------------------------------------------------------------

async function ask(method, path) {
  const headers = at("token").value ? { authorization: `Bearer ${at("token").value}` } : {};
  const answer = await fetch(path, { method, headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error ?? `${path}: ${answer.status}`);
  return body;
}

async function refresh() {
  const user = encodeURIComponent(at("user").value);
  const paths = ["state", "pools", `sessions?busiest=true&limit=100&user=${user}`, "bans", "report?limit=100", "history"];
  try {
    const asked = paths.map((each) => ask("GET", `/api/${each}`));
    const [state, pools, sessions, bans, clients, history] = await Promise.all(asked);
    showState(state, history);
    showCharts(history);
    showBackends(pools);
    showSessions(sessions);
    showBans(bans);
    showClients(clients);
    showFault("");
    document.body.classList.remove("stale");
  } catch (fault) {
    showFault(`No figures: ${fault.message}`);
    document.body.classList.add("stale");
  }
}

async function change(question, path) {
  if (!window.confirm(question)) return;
  try {
    await ask("DELETE", path);
    await refresh();
  } catch (fault) {
    window.alert(fault.message);
  }
}

// -- showing --------------------------------------------------------------------------------------------

function showFault(text) {
  at("fault").textContent = text;
  at("fault").hidden = !text;
}

function showState(state, history) {
  at("hostname").textContent = state.hostname;
  document.title = `${state.hostname} - tlsgate`;
  const reload = state.reload && !state.reload.ok ? `; the last reload was rejected: ${state.reload.reason}` : "";
  at("about").textContent =
    `${state.phase} for ${span(state.uptime)}, version ${state.version}, ${state.openssl}${reload}`;
  const late = state.workers.filter((each) => each.late).length;
  const { old_tls: old, handshakes, cleartext } = history.totals;
  at("figures").replaceChildren(
    figure("connections", `${state.connections} of ${state.most_connections}`, full(state)),
    figure("bans", state.bans),
    figure("handshakes with TLS 1.2", handshakes ? `${((100 * old) / handshakes).toFixed(1)} %` : "none yet"),
    figure("logins tried in clear", cleartext, cleartext ? "warn" : ""),
    ...(state.workers.length ? [figure("workers", late ? `${late} late` : state.workers.length, late && "bad")] : []),
  );
  table("listeners", ["name", "protocol", "TLS", "address", "#handshake", "#login", "#relay", "#mail"],
    state.listeners.map((each) => [each.name, each.protocol, each.tls, each.address ?? "removed",
      ...["handshake", "login", "relay", "mail"].map((phase) => each.sessions[phase] ?? 0)]));
  table("certificates", ["file", "expires", ""], state.certificates.map((each) => {
    const days = Math.floor((each.expires - Date.now() / 1000) / DAY);
    return [each.path, new Date(each.expires * 1000).toLocaleDateString(),
      marked(days < 0 ? "expired" : `in ${days} days`, days < 7 ? "bad" : days < 21 ? "warn" : "good")];
  }));
}

function showCharts({ step, room, points }) {
  const each = (key) => points.map((point) => point[key]);
  const rate = (key) => each(key).map((count) => (count * 60) / step);
  at("charts").replaceChildren(
    chart("Sessions, last hour", [{ name: "live", values: each("sessions") }], room),
    chart("Logins a minute", [{ name: "good", values: rate("logins") }, { name: "failed", values: rate("failed") }], room),
    chart("Old clients a minute",
      [{ name: "TLS 1.2", values: rate("old_tls") }, { name: "login in clear", values: rate("cleartext") }], room),
  );
}

function showBackends(pools) {
  table("backends", ["pool", "address", "TLS", "", "#connections", "#priority", "last failure"],
    pools.flatMap((pool) => pool.backends.map((each) => [pool.name, each.address, each.tls,
      each.up ? marked("up", "good") : marked("down", "bad"), each.connections, each.priority,
      each.failed_at ? `${ago(each.failed_at)}: ${each.failure ?? ""}` : ""])));
}

function showSessions(page) {
  const unheard = page.unheard ? `; ${page.unheard} workers did not answer` : "";
  at("shown").textContent = `${page.sessions.length} of ${page.total}, the busiest first${unheard}`;
  table("sessions", ["user", "client", "listener", "phase", "TLS", "backend", "#in", "#out", "for", ""],
    page.sessions.map((each) => [each.user ?? "", each.client, each.listener, each.phase,
      each.tls_version === "TLSv1.2" ? marked(each.tls_version, "warn") : each.tls_version ?? "", each.backend ?? "",
      size(each.bytes_in), size(each.bytes_out), ago(each.since, ""),
      button("end", `End session ${each.id} from ${each.client}?`, `/api/sessions/${encodeURIComponent(each.id)}`)]));
}

function showClients(clients) {
  const habits = { old_tls: "TLS below 1.3", no_sni: "no SNI", starttls: "STARTTLS", cleartext: "login in clear" };
  table("clients", ["user", "comes with", "#times", "last", "client", "listener"], clients.map((each) => [each.user,
    marked(habits[each.habit], each.habit === "cleartext" ? "bad" : "warn"), each.count, ago(each.last), each.client,
    each.listener]));
}

function showBans(bans) {
  const most = 200;
  at("banned").textContent = bans.length > most ? `${most} of ${bans.length}` : "";
  table("bans", ["network", "for another", "#times", "reason", ""], bans.slice(0, most).map((each) => [each.network,
    span(each.seconds_left), each.count, each.reason,
    button("lift", `Lift the ban of ${each.network}?`, `/api/bans?network=${encodeURIComponent(each.network)}`)]));
}

// -- pieces ---------------------------------------------------------------------------------------------

function make(tag, text, name) {
  const made = document.createElement(tag);
  made.append(text);
  if (name) made.className = name;
  return made;
}

// Characters that nobody sees, or that turn others around, as what they are.
const plain = (text) =>
  String(text ?? "").replace(/[\p{Cc}\p{Cf}]/gu, (each) => `\\u{${each.codePointAt(0).toString(16)}}`);

const marked = (text, name) => make("span", text, name);

function figure(name, value, mark) {
  const made = make("div", make("b", String(value), mark), "figure");
  made.append(name);
  return made;
}

// `heads`: "#" before one stands for a column of numbers. Cells: texts, numbers, null or elements.
function table(id, heads, rows) {
  if (at(id).contains(document.activeElement)) return; // somebody is about to press a button in it
  const kinds = heads.map((head) => (head.startsWith("#") ? "number" : ""));
  const lines = rows.map((cells) => {
    const line = document.createElement("tr");
    line.append(...cells.map((cell, index) => {
      const made = make("td", cell instanceof Node ? cell : plain(cell), kinds[index]);
      made.title = made.textContent;
      return made;
    }));
    return line;
  });
  const head = document.createElement("tr");
  head.append(...heads.map((each, index) => make("th", each.replace("#", ""), kinds[index])));
  at(id).replaceChildren(head, ...(rows.length ? lines : [make("tr", make("td", "none"))]));
}

function button(text, question, path) {
  if (!at("token").value) return "";
  const made = make("button", text);
  made.type = "button";
  made.addEventListener("click", () => {
    made.blur();
    change(question, path);
  });
  return made;
}

const full = (state) => (state.connections >= state.most_connections ? "bad" : "");

function span(seconds) {
  if (seconds < 90) return `${Math.floor(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 2 * DAY ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / DAY)} days`;
}

const ago = (since, word = " ago") => span(Math.max(0, Date.now() / 1000 - since)) + word;

function size(octets) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = octets ? Math.min(units.length - 1, Math.floor(Math.log2(octets) / 10)) : 0;
  return `${(octets / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

// -- the round ------------------------------------------------------------------------------------------

async function round() {
  if (!document.hidden) await refresh();
  setTimeout(round, PERIOD);
}

at("user").addEventListener("change", refresh);
at("token").addEventListener("change", refresh);
at("changes").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("visibilitychange", () => document.hidden || refresh());
round();
