import type { JSX } from "preact";

const PATHS = {
  bell: "M6 17v-6a6 6 0 0 1 12 0v6l1.500 2h-15zM10 21.500a2.200 2.200 0 0 0 4 0",
  close: "M6 6l12 12M18 6L6 18",
  help: "M9 9.500a3 3 0 1 1 4.500 2.600c-1 .6-1.500 1.200-1.500 2.400M12 18h.01M12 22a10 10 0 1 0 0-20 10 10 0 0 0 0 20z",
  outside: "M13 4h7v7M20 4l-9 9M17 14v6H4V7h6",
  reply: "M10 6L4 12l6 6M4 12h10a6 6 0 0 1 6 6v1",
  send: "M4 12l-1-8 19 8-19 8zM4 12h9",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4",
  back: "M15 5l-7 7 7 7",
  down: "M6 9l6 6 6-6",
  exit: "M14 4h5v16h-5M11 8l-4 4 4 4M7 12h9",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9.5h.01",
  video: "M4 6h11v12H4zM15 11l5-3v8l-5-3",
  audio: "M9 18V6l9-2v11M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM18 15a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z",
  pin: "M12 21s-6-5.5-6-11a6 6 0 1 1 12 0c0 5.5-6 11-6 11zM12 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21c0-4.5 3.5-7 8-7s8 2.5 8 7",
  people: "M9 12a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c0-4 3-6 6.5-6s6.5 2 6.5 6M16 5.5a3.5 3.5 0 0 1 0 6.5M18 14.5c2.2.8 3.5 2.700 3.5 5.5",
  chat: "M4 5h16v11H9l-5 4z",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3 2",
  check: "M5 13l4 4 10-10",
  checks: "M2 13l4 4 9-10M11 16l1 1 10-10",
  warning: "M12 4l9 16H3zM12 10v4M12 17h.01",
} as const;

export type IconName = keyof typeof PATHS;

/** A decorative icon beside a text with the same meaning. */
export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
