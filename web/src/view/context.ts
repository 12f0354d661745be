import type { Signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";

import type { CheckOptions } from "../store/check";
import type { Inbox } from "../store/inbox";
import type { Preference } from "../store/preferences";
import type { Search } from "../store/search";
import type { Formats } from "../text/formats";
import type { Translate } from "../text/language";

/** A picture that is looked at in full. */
export interface FullPicture {
  url: string;
  alt: string;
}

/** What lies over the page; one at a time. */
export type Overlay = { name: "help" } | { name: "preferences" } | { name: "check" } | { name: "signIn" } | { name: "picture"; picture: FullPicture };

/** What every part of the page may need. */
export interface Page {
  inbox: Inbox;
  search: Search;
  t: Translate;
  formats: Formats;
  /** Whether media at this address loads without being asked for. */
  loadsByItself: (url: string) => boolean;
  /** Whom the token names. */
  agent: string | null;
  overlay: Signal<Overlay | null>;
  notify: Preference;
  sound: Preference;
  /** For a look at the connection, as things are now. */
  checkOptions: () => CheckOptions;
  /** The page may be heard from now on: somebody has touched it. */
  hearable: () => void;
  signOut: () => void;
  /** A new token; false where it is none that helps. */
  signInAgain: (token: string) => Promise<boolean>;
}

export const PageContext = createContext<Page | null>(null);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (!page) throw new Error("outside of the page");
  return page;
}
