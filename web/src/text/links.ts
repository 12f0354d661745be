/** Only what leads to the web: never `javascript:` and the like. */
export function safeUrl(url: string): string | null {
  try {
    return /^https?:$/.test(new URL(url).protocol) ? url : null;
  } catch {
    return null;
  }
}

export type Piece = { text: string; href?: string };

const URLS = /\bhttps?:\/\/[^\s<>"'、。，！？；：（）「」]+/giu;

/** A text in pieces, of which some are links. Signs that end a sentence are not taken into the link. */
export function linked(text: string): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(URLS)) {
    const found = withoutEnd(match[0]);
    const href = safeUrl(found);
    if (!href) continue;
    if (match.index > from) pieces.push({ text: text.slice(from, match.index) });
    pieces.push({ text: found, href });
    from = match.index + found.length;
  }
  if (from < text.length) pieces.push({ text: text.slice(from) });
  return pieces;
}

function withoutEnd(url: string): string {
  const trimmed = url.replace(/[.,;:!?…]+$/u, "");
  // A closing bracket belongs to the link only where it was opened in it.
  return trimmed.endsWith(")") && !trimmed.includes("(") ? withoutEnd(trimmed.slice(0, -1)) : trimmed;
}
