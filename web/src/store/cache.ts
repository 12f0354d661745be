import type { SavedSession } from "./sessionstore";

const NAME = "roomcast";
const VERSION = 1;
const TABLE = "sessions";

interface Row {
  /** Of the server and the agent: what one may see is nothing to another. */
  owner: string;
  sessionId: string;
  session: SavedSession;
}

/**
 * What the page knew when it was last open, in IndexedDB. It only ever saves time: where the browser refuses (a
 * private window, a full disk) everything works without.
 */
export class Cache {
  private database: Promise<IDBDatabase | null> | null = null;

  constructor(private readonly owner: string) {}

  async read(): Promise<SavedSession[]> {
    const database = await this.open();
    if (!database) return [];
    const rows = await settled<Row[]>(database.transaction(TABLE).objectStore(TABLE).getAll(this.range()));
    return (rows ?? []).map(({ session }) => session);
  }

  async write(sessions: readonly SavedSession[]): Promise<void> {
    const database = await this.open();
    if (!database) return;
    const table = database.transaction(TABLE, "readwrite").objectStore(TABLE);
    const kept = new Set(sessions.map(({ sessionId }) => sessionId));
    for (const session of sessions) {
      table.put({ owner: this.owner, sessionId: session.sessionId, session } satisfies Row);
    }
    const keys = await settled(table.getAllKeys(this.range()));
    for (const key of keys ?? []) if (Array.isArray(key) && !kept.has(String(key[1]))) table.delete(key);
  }

  /** Forgets everything, of everybody. */
  async forget(): Promise<void> {
    const database = await this.open();
    if (database) await settled(database.transaction(TABLE, "readwrite").objectStore(TABLE).clear());
  }

  private range(): IDBKeyRange {
    return IDBKeyRange.bound([this.owner], [this.owner, []]);
  }

  private open(): Promise<IDBDatabase | null> {
    this.database ??= new Promise((resolve) => {
      try {
        const request = indexedDB.open(NAME, VERSION);
        request.onupgradeneeded = () => {
          request.result.createObjectStore(TABLE, { keyPath: ["owner", "sessionId"] });
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

function settled<Result>(request: IDBRequest<Result>): Promise<Result | null> {
  return new Promise((resolve) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  });
}
