import { openDatabase } from "./indexeddb";
import type { UnsentMessage } from "./unsent";

const NAME = "roomcast-unsent";
const TABLE = "messages";

/** Keeps unsent messages over a reload. Never rejects: where the browser refuses, they last as long as the page. */
export interface Shelf {
  /** `null` where nothing can be kept. */
  all(): Promise<UnsentMessage[] | null>;
  put(message: UnsentMessage): Promise<void>;
  remove(clientId: string): Promise<void>;
  clear(): Promise<void>;
}

/**
 * The unsent messages of one agent in IndexedDB. It is not the cache's database: what is in that may be thrown away at
 * any time, and these are nowhere else.
 */
export class IndexedShelf implements Shelf {
  private database: Promise<IDBDatabase | null> | null = null;

  constructor(private readonly owner: string) {}

  async all(): Promise<UnsentMessage[] | null> {
    const rows = await this.run<{ message: UnsentMessage }[]>("readonly", (table) => table.getAll(this.range()));
    return rows && rows.map(({ message }) => message);
  }

  async put(message: UnsentMessage): Promise<void> {
    await this.run("readwrite", (table) => table.put({ owner: this.owner, clientId: message.clientId, message }));
  }

  async remove(clientId: string): Promise<void> {
    await this.run("readwrite", (table) => table.delete([this.owner, clientId]));
  }

  async clear(): Promise<void> {
    await this.run("readwrite", (table) => table.delete(this.range()));
  }

  private range(): IDBKeyRange {
    return IDBKeyRange.bound([this.owner], [this.owner, []]);
  }

  private async run<Result>(mode: IDBTransactionMode, task: (table: IDBObjectStore) => IDBRequest): Promise<Result | null> {
    const database = await (this.database ??= open());
    if (!database) return null;
    return new Promise((resolve) => {
      try {
        const transaction = database.transaction(TABLE, mode);
        const request = task(transaction.objectStore(TABLE));
        transaction.oncomplete = () => resolve(request.result as Result);
        transaction.onabort = transaction.onerror = () => resolve(null);
      } catch {
        resolve(null); // closed by a newer version of the page
      }
    });
  }
}

function open(): Promise<IDBDatabase | null> {
  return openDatabase(NAME, 1, (database) => {
    database.createObjectStore(TABLE, { keyPath: ["owner", "clientId"] });
  });
}
