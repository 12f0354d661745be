import type { ReadonlySignal, Signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";

import type { Agent } from "../client";
import type { CheckOptions } from "../store/check";
import type { Attendance } from "../store/attendance";
import type { Desk } from "../store/desk";
import type { Drafts } from "../store/drafts";
import type { Inbox } from "../store/inbox";
import type { Preference } from "../store/preferences";
import type { QuickReplies } from "../store/quickreplies";
import type { Search } from "../store/search";
import type { Formats } from "../text/formats";
import type { Translate } from "../text/language";

/** A picture in full size. */
export interface FullPicture {
  url: string;
  alt: string;
}

/** The open overlay; one at a time. */
export type Overlay = { name: "help" } | { name: "preferences" } | { name: "check" } | { name: "signIn" } | { name: "quickReplies"; sessionId: string } | { name: "picture"; picture: FullPicture };

/** What any part of the page may need. */
export interface Page {
  inbox: Inbox;
  search: Search;
  attendance: Attendance;
  desk: Desk;
  drafts: Drafts;
  quick: QuickReplies;
  /** What the token allows. */
  rights: ReadonlySignal<{ send: boolean; write: boolean }>;
  /** Whose token it is. */
  me: Agent;
  t: Translate;
  formats: Formats;
  /** Whether media at this address loads by itself. */
  loadsByItself: (url: string) => boolean;
  overlay: Signal<Overlay | null>;
  notify: Preference;
  sound: Preference;
  /** The present values for the connection check. */
  checkOptions: () => CheckOptions;
  /** Called after an interaction, from which on the page may play sound. */
  hearable: () => void;
  signOut: () => void;
  /** Signs in with a new token. Returns false if it is not usable. */
  signInAgain: (token: string) => Promise<boolean>;
}

export const PageContext = createContext<Page | null>(null);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (!page) throw new Error("outside of the page");
  return page;
}
