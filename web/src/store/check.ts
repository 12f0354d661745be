import type { TextKey } from "../text/en";

export type Verdict = "ok" | "warning" | "failure";

/** The result of one check. */
export interface Finding {
  name: TextKey;
  verdict: Verdict;
  /** The measured value. */
  value?: string;
  /** What it means and what to do, with the values for its placeholders. */
  advice?: TextKey;
  places?: Record<string, string | number>;
}

export interface CheckOptions {
  /** The server's origin. */
  url: string;
  socketPath: string;
  token: string;
  /** When the token expires, in milliseconds like `Date.now()`. */
  expiresAt: number;
  /** The version of the loaded page. */
  version: string;
  /** Formats a time. */
  moment: (time: number) => string;
}

const TIMEOUT_MS = 5_000;
const SLOW_MS = 1_000;
/** `Date` in an answer has whole seconds, and the answer takes time to arrive. */
const CLOCK_OFF_MS = 30_000;
const SOON_MS = 600_000;

/** Checks the connection to the server from the browser, and reports each result as soon as it is known. */
export async function checkConnection(options: CheckOptions, tell: (finding: Finding) => void): Promise<void> {
  const reached = await reachable(options, tell);
  if (!reached) return;
  await ready(options, tell);
  await signIn(options, tell);
  await websocket(options, tell);
  await polling(options, tell);
  await version(options, tell);
}

async function ask(options: CheckOptions, path: string, request: RequestInit = {}): Promise<Response | null> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  return fetch(`${options.url}${path}`, { cache: "no-store", signal, ...request }).catch(() => null);
}

async function reachable(options: CheckOptions, tell: (finding: Finding) => void): Promise<boolean> {
  const began = performance.now();
  const answer = await ask(options, "/healthz");
  const ms = Math.round(performance.now() - began);
  const name = "checkHttp";
  if (!answer) tell({ name, verdict: "failure", advice: "adviceUnreachable" });
  else if (!(await isOurs(answer))) tell({ name, verdict: "failure", advice: "adviceOther", places: { status: answer.status } });
  else {
    tell({ name, verdict: "ok", value: `${ms} ms` });
    const off = Math.round((Date.now() - ms / 2 - Date.parse(answer.headers.get("Date") ?? "")) / 1000);
    const advice = Math.abs(off) * 1000 > CLOCK_OFF_MS ? { advice: "adviceClock" as const, places: { seconds: Math.abs(off) } } : {};
    if (Number.isFinite(off)) tell({ name: "checkClock", verdict: "advice" in advice ? "warning" : "ok", value: `${off} s`, ...advice });
    return true;
  }
  return false;
}

/** A proxy, or the sign-in page of a hotel, may answer instead of the server. */
async function isOurs(answer: Response): Promise<boolean> {
  const body: unknown = await answer.json().catch(() => null);
  return answer.ok && (Object(body) as { status?: unknown }).status === "ok";
}

async function ready(options: CheckOptions, tell: (finding: Finding) => void): Promise<void> {
  const answer = await ask(options, "/readyz");
  if (answer?.ok) tell({ name: "checkReady", verdict: "ok" });
  else tell({ name: "checkReady", verdict: "failure", advice: "adviceNotReady" });
}

async function signIn(options: CheckOptions, tell: (finding: Finding) => void): Promise<void> {
  const answer = await ask(options, "/api/v1/sessions", { headers: { Authorization: `Bearer ${options.token}` } });
  const until = options.expiresAt > 0 ? { value: options.moment(options.expiresAt) } : {};
  const name = "checkToken";
  if (answer?.status === 401) tell({ name, verdict: "failure", ...until, advice: "adviceTokenEnded" });
  else if (answer?.status === 404) tell({ name, verdict: "failure", advice: "adviceTokenRights" });
  else if (!answer?.ok) tell({ name, verdict: "warning", advice: "adviceOther", places: { status: answer?.status ?? "–" } });
  else if (options.expiresAt < Date.now() + SOON_MS) tell({ name, verdict: "warning", ...until, advice: "adviceTokenSoon" });
  else tell({ name, verdict: "ok", ...until });
}

/** Like the Socket.IO client (Engine.IO 4, Socket.IO 5): open, CONNECT, and one event with its answer. */
function websocket(options: CheckOptions, tell: (finding: Finding) => void): Promise<void> {
  const name = "checkWebsocket";
  return new Promise((resolve) => {
    const socket = new WebSocket(`${options.url.replace(/^http/, "ws")}${options.socketPath}?EIO=4&transport=websocket`);
    let [opened, sentAt] = [false, 0];
    const done = (...findings: Finding[]): void => {
      clearTimeout(timer);
      socket.onclose = socket.onmessage = null;
      socket.close();
      findings.forEach(tell);
      resolve();
    };
    const fail = (): void => done({ name, verdict: "failure", advice: opened ? "adviceSilent" : "adviceWebsocket" });
    const timer = setTimeout(fail, TIMEOUT_MS);
    socket.onopen = () => (opened = true);
    socket.onclose = fail;
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      const packet = String(data);
      if (packet.startsWith("0")) socket.send(`40${JSON.stringify({ token: options.token })}`);
      else if (packet.startsWith("40")) {
        sentAt = performance.now();
        socket.send(`420${JSON.stringify(["authenticate", { token: options.token }])}`);
      } else if (packet.startsWith("430")) {
        const ms = Math.round(performance.now() - sentAt);
        const trip = { name: "checkRoundTrip", value: `${ms} ms` } as const;
        const slow = ms > SLOW_MS ? ({ verdict: "warning", advice: "adviceSlow" } as const) : ({ verdict: "ok" } as const);
        done({ name, verdict: "ok" }, { ...trip, ...slow });
      } else if (packet.startsWith("44")) done({ name, verdict: "ok" }); // the connection works; the token has its own check
      else if (packet === "2") socket.send("3");
    };
  });
}

/** A handshake, and two more requests that must reach the same server. */
async function polling(options: CheckOptions, tell: (finding: Finding) => void): Promise<void> {
  const path = `${options.socketPath}?EIO=4&transport=polling`;
  const failed = (status: number | undefined, advice: TextKey): void =>
    tell({ name: "checkPolling", verdict: "warning", advice, places: { status: status ?? "–" } });
  const opening = await ask(options, path);
  const [, sid] = /"sid":"([^"]+)"/.exec((await opening?.text().catch(() => "")) ?? "") ?? [];
  if (!opening?.ok || !sid) return failed(opening?.status, "advicePolling");
  const own = `${path}&sid=${encodeURIComponent(sid)}`;
  for (const body of [`40${JSON.stringify({ token: options.token })}`, "1"]) {
    const answer = await ask(options, own, { method: "POST", body });
    if (answer?.status === 400) return failed(400, "adviceSticky");
    if (answer?.status === 403) return failed(403, "adviceOrigin");
    if (!answer?.ok) return failed(answer?.status, "advicePolling");
  }
  tell({ name: "checkPolling", verdict: "ok" });
}

async function version(options: CheckOptions, tell: (finding: Finding) => void): Promise<void> {
  const html = await (await ask(options, "/"))?.text().catch(() => "");
  const meta = new DOMParser().parseFromString(html ?? "", "text/html").querySelector<HTMLMetaElement>('meta[name="roomcast"]');
  const served = /"version":"([^"]+)"/.exec(meta?.content ?? "")?.[1];
  const name = "checkVersion";
  if (!served || served === options.version) tell({ name, verdict: "ok", value: options.version });
  else tell({ name, verdict: "warning", value: options.version, advice: "adviceVersion", places: { version: served } });
}
