import { openDatabase } from "./indexeddb";
import type { SavedSession } from "./sessionstore";

const NAME = "roomcast";
/** Rows of another version are discarded: the server has everything. */
const VERSION = 3;
const SESSIONS = "sessions";
const ENDINGS = "endings";

interface Row {
  /** Identifies the server and the agent, so that agents do not share rows. */
  owner: string;
  sessionId: string;
  session: SavedSession;
  /** When the token expires that allowed access to it, in milliseconds like `Date.now()`. */
  expiresAt: number;
}

/**
 * The state of the page when it was last open, in IndexedDB. It only saves time: if the browser refuses it (a private
 * window, a full disk), everything works without.
 *
 * Policy: a row is kept no longer than the token that allowed access to it. After `forget`, no tab that began before can
 * write, even if it learns of it late: a count of these calls, read at the beginning, is compared in the writing
 * transaction.
 */
export class Cache {
  private database: Promise<IDBDatabase | null> | null = null;
  /** The number of `forget` calls when this tab began; `null`: it has not begun and may not write. */
  private begun: number | null = null;

  constructor(
    private readonly owner: string,
    private readonly expiresAt: () => number,
  ) {}

  /** Allows this tab to write from now on. Removes expired rows of all agents. */
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

  /** Deletes all rows of all agents. Tabs that began before write nothing any more. */
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
    this.database ??= openDatabase(NAME, VERSION, (database) => {
      for (const name of [...database.objectStoreNames]) database.deleteObjectStore(name);
      database.createObjectStore(SESSIONS, { keyPath: ["owner", "sessionId"] });
      database.createObjectStore(ENDINGS);
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
