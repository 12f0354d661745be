import { signal, type ReadonlySignal } from "@preact/signals";

export interface Preference {
  readonly on: ReadonlySignal<boolean>;
  set(on: boolean): void;
}

/** The preferences of this browser, shared by all its tabs. Everything is off by default. */
export function preference(name: string): Preference {
  const key = `roomcast.${name}`;
  const on = signal(read(key));
  addEventListener("storage", (event) => {
    if (event.key === key || event.key === null) on.value = read(key);
  });
  return {
    on,
    set: (value) => {
      on.value = value;
      try {
        if (value) localStorage.setItem(key, "on");
        else localStorage.removeItem(key);
      } catch {
        // Not stored, so it only applies to this tab.
      }
    },
  };
}

function read(key: string): boolean {
  try {
    return localStorage.getItem(key) === "on";
  } catch {
    return false;
  }
}
