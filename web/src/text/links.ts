/** Only what leads to the web: never `javascript:` and the like. */
export function safeUrl(url: string): string | null {
  try {
    return /^https?:$/.test(new URL(url).protocol) ? url : null;
  } catch {
    return null;
  }
}

/** A small picture that came with a message, if it is one: nothing else may stand in a style or an image. */
export function safePreview(preview: string | null | undefined): string | null {
  return preview && /^data:image\/(?:jpeg|png|webp|gif);base64,[A-Za-z0-9+/]+={0,2}$/.test(preview) ? preview : null;
}

/** Scheme, host and port, in the form in which they can be compared; `null` for what is no address. */
export function originOf(url: unknown): string | null {
  return typeof url === "string" && URL.canParse(url) ? new URL(url).origin : null;
}

export type Piece = { text: string; href?: string };

/** Addresses of the web, and those of mail: the signs of the latter are bounded, so that no text makes it slow. */
const LINKS =
  /\bhttps?:\/\/[^\s<>"'\u202A-\u202E\u2066-\u2069、。，！？；：（）「」]+|\bwww\.[\p{L}\p{N}-]{1,63}\.[^\s<>"'\u202A-\u202E\u2066-\u2069、。，！？；：（）「」]+|(?<![\w.+-])[\w.+-]{1,64}@(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,24}(?![\w@])/giu;

/** A text in pieces, of which some are links. Signs that end a sentence are not taken into the link. */
export function linked(text: string): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(LINKS)) {
    const found = withoutEnd(match[0]);
    const href = hrefOf(found);
    if (!href) continue;
    if (match.index > from) pieces.push({ text: text.slice(from, match.index) });
    pieces.push({ text: found, href });
    from = match.index + found.length;
  }
  if (from < text.length) pieces.push({ text: text.slice(from) });
  return pieces;
}

function hrefOf(found: string): string | null {
  if (/^https?:/i.test(found)) return safeUrl(found);
  return /^www\./i.test(found) ? safeUrl(`https://${found}`) : `mailto:${encodeURIComponent(found).replace("%40", "@")}`;
}

function withoutEnd(url: string): string {
  const trimmed = url.replace(/[.,;:!?…]+$/u, "");
  // A closing bracket belongs to the link only where it was opened in it.
  return trimmed.endsWith(")") && !trimmed.includes("(") ? withoutEnd(trimmed.slice(0, -1)) : trimmed;
}
