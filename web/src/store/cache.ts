import type { SavedSession } from "./sessionstore";

const NAME = "roomcast";
/** Rows of another version are thrown away: the server has it all. */
const VERSION = 3;
const SESSIONS = "sessions";
const ENDINGS = "endings";

interface Row {
  /** Of the server and the agent: what one may see is nothing to another. */
  owner: string;
  sessionId: string;
  session: SavedSession;
  /** When the token ends that allowed to see it, in milliseconds as of `Date.now()`. */
  expiresAt: number;
}

/**
 * What the page knew when it was last open, in IndexedDB. It only ever saves time: where the browser refuses (a
 * private window, a full disk) everything works without.
 *
 * Policy: a row lasts no longer than the token that allowed to see it. After `forget` nothing is written by any tab
 * that began before it, however late that tab hears of it: the number of endings, read at the beginning, is compared
 * in the transaction that writes.
 */
export class Cache {
  private database: Promise<IDBDatabase | null> | null = null;
  /** How often everything had been forgotten when this tab began; `null`: it has not begun and may not write. */
  private begun: number | null = null;

  constructor(
    private readonly owner: string,
    private readonly expiresAt: () => number,
  ) {}

  /** Begins: from now on this tab may write. Removes what has expired, of everybody. */
  async read(): Promise<SavedSession[]> {
    const stores = await this.stores();
    if (!stores) return [];
    const [endings, rows] = await Promise.all([settled(countOf(stores.endings)), settled<Row[]>(stores.sessions.getAll())]);
    this.begun = endings ?? 0;
    const now = Date.now();
    const good = (rows ?? []).filter((row) => {
      if (row.expiresAt <= now) stores.sessions.delete([row.owner, row.sessionId]);
      return row.expiresAt > now && row.owner === this.owner;
    });
    return good.map(({ session }) => session);
  }

  async write(sessions: readonly SavedSession[]): Promise<void> {
    const expiresAt = this.expiresAt();
    if (this.begun === null || expiresAt <= Date.now()) return;
    const stores = await this.stores();
    if (!stores || ((await settled(countOf(stores.endings))) ?? 0) !== this.begun) return;
    const table = stores.sessions;
    const kept = new Set(sessions.map(({ sessionId }) => sessionId));
    for (const session of sessions) {
      table.put({ owner: this.owner, sessionId: session.sessionId, session, expiresAt } satisfies Row);
    }
    const keys = await settled(table.getAllKeys(this.range()));
    for (const key of keys ?? []) if (Array.isArray(key) && !kept.has(String(key[1]))) table.delete(key);
  }

  /** Forgets everything, of everybody. Who had begun before, in any tab, writes nothing any more. */
  async forget(): Promise<void> {
    const stores = await this.stores();
    if (!stores) return;
    if (this.begun !== null) stores.endings.put(((await settled(countOf(stores.endings))) ?? 0) + 1, 0);
    await settled(stores.sessions.clear());
  }

  private range(): IDBKeyRange {
    return IDBKeyRange.bound([this.owner], [this.owner, []]);
  }

  private async stores(): Promise<{ sessions: IDBObjectStore; endings: IDBObjectStore } | null> {
    const database = await this.open();
    if (!database) return null;
    const transaction = database.transaction([SESSIONS, ENDINGS], "readwrite");
    return { sessions: transaction.objectStore(SESSIONS), endings: transaction.objectStore(ENDINGS) };
  }

  private open(): Promise<IDBDatabase | null> {
    this.database ??= new Promise((resolve) => {
      try {
        const request = indexedDB.open(NAME, VERSION);
        request.onupgradeneeded = () => {
          for (const name of [...request.result.objectStoreNames]) request.result.deleteObjectStore(name);
          request.result.createObjectStore(SESSIONS, { keyPath: ["owner", "sessionId"] });
          request.result.createObjectStore(ENDINGS);
        };
        request.onsuccess = () => {
          // A newer version of the page, in another tab, must not have to wait for us.
          request.result.onversionchange = () => request.result.close();
          resolve(request.result);
        };
        request.onerror = request.onblocked = () => resolve(null);
      } catch {
        resolve(null); // no IndexedDB
      }
    });
    return this.database;
  }
}

function countOf(endings: IDBObjectStore): IDBRequest<number | undefined> {
  return endings.get(0);
}

function settled<Result>(request: IDBRequest<Result>): Promise<Result | null> {
  return new Promise((resolve) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  });
}
