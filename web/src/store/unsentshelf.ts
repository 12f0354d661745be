import { openDatabase } from "./indexeddb";
import type { UnsentMessage } from "./unsent";

const NAME = "roomcast-unsent";
const TABLE = "messages";

/** Stores unsent messages across reloads. Never rejects: without storage they last as long as the page. */
export interface Shelf {
  /** `null` if nothing can be stored. */
  all(): Promise<UnsentMessage[] | null>;
  put(message: UnsentMessage): Promise<void>;
  remove(clientId: string): Promise<void>;
  clear(): Promise<void>;
}

/**
 * The unsent messages of one agent in IndexedDB. They have a database of their own, because the cache's may be deleted at
 * any time.
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
        resolve(null); // a newer version of the page has closed it
      }
    });
  }
}

function open(): Promise<IDBDatabase | null> {
  return openDatabase(NAME, 1, (database) => {
    database.createObjectStore(TABLE, { keyPath: ["owner", "clientId"] });
  });
}
