import { createContext } from "preact";
import { useContext } from "preact/hooks";

import type { Inbox } from "../store/inbox";
import type { Formats } from "../text/formats";
import type { Translate } from "../text/language";

/** What every part of the page may need. */
export interface Page {
  inbox: Inbox;
  t: Translate;
  formats: Formats;
  /** Whom the token names. */
  agent: string | null;
  signOut: () => void;
  retryNow: () => void;
}

export const PageContext = createContext<Page | null>(null);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (!page) throw new Error("outside of the page");
  return page;
}
